"""From totals to sightings of the aggregator in MISP.

In: totals by label, the UUIDs behind the labels, the group's quotas. Out: sightings,
each telling the whole total in its source.

What must hold: only totals at or above both quotas are published; publishing again adds
nothing. How a total was found is not known here.
"""
