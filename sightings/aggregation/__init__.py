"""Sightings added up across organisations without telling on anyone (docs/aggregation.md).

In: the counts of a period from a journal, a group that all members have pinned, a list
of labels. Out: for the aggregator a total a label, and nothing about one subscriber.

Two protocols (`masked`, `shi`) stand behind one interface of rounds (`protocol`);
`exchange` moves and keeps messages for both, `wire` signs them. What must hold: a
subscriber answers a period once, with the same bytes however often it is asked; who
reads the mailbox learns no totals. Needs the extra `aggregation`; no front end does.
"""
