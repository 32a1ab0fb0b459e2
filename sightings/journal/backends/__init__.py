"""What the setting `journal` can name: a SQLite file, or a store that several proxies share.

In: the section `[sightings]`. Out: the file that this proxy appends to, the file that is
reported from here, and the steps that move records from the one to the other.

What must hold: every back-end is one line in `registry`; a proxy appends to its own file
whatever the store does; a record leaves a proxy's file or the store only when it is safe
at the next place, and one that comes twice is journalled once, by its origin. The helper
and the ICAP server import the table, so a back-end imports its libraries when it moves
records, not before. MISP is not known here.
"""
