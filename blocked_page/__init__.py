"""The page that a user sees in place of what was blocked.

In: the organisation, whom to ask, incident id, address and time. Out: HTML, either
complete (ICAP) or as an error template in which Squid fills in incident, address, time.

What must hold: every text is escaped for HTML, and in the template for Squid too, to
which `%` begins a code. Which rule matched is not known here: whoever sits before the
browser must not learn it. A folder of its own, since a front end (ICAP) needs it as
well as the generator of squid.conf, which stands above it (docs/decisions/0101).
"""
