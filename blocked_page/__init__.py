"""The pages that a user sees in place of what was not let through, one for each reason.

In: the organisation, whom to ask, perhaps the operator's own HTML; then why, incident id,
address and time. Out: HTML, either complete (ICAP) or as an error template in which Squid
fills in incident, address, time.

What must hold: every text is escaped for HTML, and in the template for Squid too, to
which `%` begins a code. Only what is listed is called dangerous, and only of a request that
was stopped it is said that nothing was sent. Which rule matched is not known here: whoever
sits before the browser must not learn it. A folder of its own, since a front end (ICAP)
needs it as well as the generator of squid.conf, which stands above it (docs/decisions/0101).
"""
