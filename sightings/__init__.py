"""Sightings: what was matched, when and for whom, and who is told.

In: matches, from the front ends and from `inkgate-rules match`. Out: records in a local
SQLite file (`journal`); from there sightings in MISP (`report`), lines and objects for
others (`export`), or sums over many organisations (`aggregation`); answers to the help
desk (`commands`).

What must hold: nothing here holds up an answer to a proxy's user; a record holds neither
a URL nor an indicator; while MISP or Redis is away records wait on the disk, and what is
told twice counts once. How a verdict was found is not known here.
"""
