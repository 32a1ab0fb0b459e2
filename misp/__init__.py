"""Talking to a MISP: the one place that does it, for all who ask one.

MISP is a web application with a REST interface; PyMISP makes its requests, over one
`requests` session. Four things are left to whoever uses PyMISP, and are done here:

- Redirects. `requests` follows 301 and 302 by turning POST into GET, which loses the
  filters of a search, and drops the key on the way to another host. None is followed.
- The key. `requests` prefers what ~/.netrc has for a host to the Authorization header
  with the key. It is kept from looking there; proxies of the environment go on working.
- The address. `https://host/misp` needs a slash at its end, or PyMISP asks `https://host/`.
- Errors. PyMISP raises its own, those of `requests` and whatever its parsing comes to,
  with texts that quote requests and answers. From here come the few of `errors`, whose
  texts hold neither a key nor an indicator.

`connector` is what callers use. It imports PyMISP (a quarter of a second) only when a
MISP is asked; `session` is what it then imports.
"""
