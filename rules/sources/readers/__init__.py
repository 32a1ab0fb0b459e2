"""File formats of indicators: MISP event JSON, CSV, STIX, lists.

In: a path. Out: attributes, one at a time; of lists without UUIDs also file and line.

What must hold: a reader gives all attributes of a file or raises Unreadable before the
first, so that half a file never counts as a whole one; sizes are bounded. Settings,
networks and last good readings are not known here.
"""
