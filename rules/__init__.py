"""Encrypted rules, from MISP's attributes to the verdict on a request (docs/format.md).

The publisher's rooms, in the order of the flow: `sources`, `select`, `seal`, `pack`, all
run by `refresh`. The subscriber's: `install`, `lookup`; `match` for logs. Both need
`canonical` and `crypto`, since they meet only if they write and derive alike. Beside
the flow: `foreign` (other tools' rules) and `audit` (what a set resists).

What must hold: nothing that is made for a subscriber holds a clear indicator; a pack or
generation is never changed in place; an error never names a value, a token or a key.
"""
