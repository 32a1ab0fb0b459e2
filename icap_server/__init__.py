"""The same verdicts over ICAP (RFC 3507), and files by the digests of their bodies.

A supervisor (`processes`) holds the addresses and keeps workers running. A worker has
one event loop, which holds idle connections and answers the common message; anything
else goes to a handler on a thread. `protocol` and `body` are bytes in, bytes out.

What must hold: whatever a client sends or leaves out, it gets an answer of RFC 3507 or
its connection ends, in bounded time and memory; no verdict outlives its generation; a
body that was found listed never arrives whole. Squid and the helper are not known here:
any ICAP client will do.
"""
