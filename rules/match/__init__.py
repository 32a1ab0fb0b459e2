"""Logged requests against the installed rules: files, growing files, queues, all cores.

In: lines of a log (`input`, `logs`). Out: matches, for people or as JSON, in the order
of the lines, and sightings if asked for.

What must hold: a logged request is looked up as a proxy looks it up; memory does not
grow with the log; processes that run together derive each value once; a line of a queue
is told at least once, whoever is killed. The helper's key cache is not used here, since
an old log would push out what Squid asks for now (docs/decisions/0061).
"""
