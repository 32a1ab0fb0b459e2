"""ICAP/1.0 on the wire (RFC 3507): bytes in, events and bytes out, no I/O.

In: what a connection gives, in any pieces. Out: messages and pieces of bodies, or a
ProtocolError with the status that ends the connection; the bytes of answers.

What must hold: every size is bounded, and nothing is guessed: what is no ICAP message is
an error; what `common_case` recognises, `parser` would read in the same way. Sockets,
threads, rules and settings are not known here.
"""
