"""From journals to MISP: collect, fold, send, prune.

In: the records of a journal, of this proxy or, through a back-end of the journal, of many.
Out: one sighting per attribute, node and window in MISP; old records removed.

What must hold: a sighting's UUID follows from what it is about, so sending again changes
nothing; a position moves in the transaction that moves what it counts; a sighting that
MISP refuses holds up no other. Requests, verdicts and what proxies share are not known
here.
"""
