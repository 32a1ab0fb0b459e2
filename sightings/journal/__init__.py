"""The journal: matches on a proxy's disk, in blocks and records.

In: matches with incident id, client and method. Out: records with positions, in the
order of their commits, which `report`, `drain` and `aggregation` read.

What must hold: whoever answers a request waits for no disk (a thread commits what has
come together); what was committed is in a block or in a record, never in both or in
neither, whoever is killed; what waits for a full disk is bounded; a damaged block holds
nothing up. MISP is not known here, and Redis only in `backends`. The schema's steps are in
`database`.
"""
