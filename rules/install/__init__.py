"""From a pack to the generation that proxies have open.

In: a pack (a folder, or one file from a stranger), the publisher's public key, the
token. Out: a folder with an LMDB file and gates, named by the link `current`.

What must hold: nothing is replaced unless all checks of docs/format.md, section 6, hold
in their order; at every moment, also after a power cut, `current` names one whole
generation; a generation is never changed, since others have it open. What is in a rule
is not known here: installing needs no derivation but the check of the token.
"""
