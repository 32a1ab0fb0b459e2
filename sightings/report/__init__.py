"""From journals to MISP: drain, collect, fold, send, prune.

In: records of this proxy's journal, or of many proxies through a Redis stream. Out: one
sighting per attribute, node and window in MISP; old records removed.

What must hold: a sighting's UUID follows from what it is about, so sending again changes
nothing; a position moves in the transaction that moves what it counts; an entry leaves
the stream only when it is on the reporter's disk; a sighting that MISP refuses holds up
no other. Requests and verdicts are not known here.
"""
