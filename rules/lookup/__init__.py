"""From what a proxy observed to the rules that it opens (docs/format.md, section 7).

In: a request, an address or a body's digests; the current generation. Out: matches,
and what of the request is clean by itself and need not be looked at again.

A look-up is a generator of steps that asks for stretched values and goes on when it has
them, so who derives, where and when is for its driver to say. What must hold: a look-up
waits for nothing itself; a value that many want is derived once; a rule set that cannot
be opened leaves the one in use; a new one is opened and warmed up by `watcher` while the
old one answers. Squid, ICAP, journals and the publisher are not known here: helper, ICAP
server and `match` all stand on this.
"""
