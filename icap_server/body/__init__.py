"""Bodies of responses: decoded, hashed and held back while they stream. No I/O.

In: a body in the pieces in which it comes, its Content-Encoding, limits. Out: the
digests of every reading that a client may have of it (as sent, decoded, decoded up to
damage, first member alone), and the bytes that may go on.

What must hold: memory is bounded whatever is sent; what is too long, grows too much or
cannot be decoded is said to be unchecked; the last content stays here until there is a
verdict. What is listed is not known here: whoever holds the rules is asked.
"""
