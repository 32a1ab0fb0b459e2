"""Talking to a MISP: the one place that does, for whoever asks one.

In: where a MISP is, a key, a request as a function of PyMISP. Out: its answer, or one of
the few errors of `errors`, whose texts hold neither a key nor an indicator.

What must hold: no redirect is followed, since `requests` turns POST into GET there and
loses the filters of a search; nothing but the key is sent as Authorization, whatever
~/.netrc has; a path in the address is kept; waits are bounded. What an answer says is not
known here, but for sightings, which two ask for (`sightings`). `connector` is for callers
and imports PyMISP, a quarter of a second, only when a MISP is asked; `session` is what it
then imports (docs/decisions/0012).
"""
