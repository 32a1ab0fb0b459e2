"""From a token and a canonical value to a rule's tag and key, and to the sealed message.

In: the token, a set's salt, KDF profiles (`profiles`), canonical values, messages. Out:
stretched values (the one slow step, run by `kdf`), and what cheap steps make of them:
tags, keys, numbers for gates, sealed rules. Also here: the key cache, the files of keys.

What must hold: docs/format.md, sections 3 to 5, to the byte (tests/vectors); a profile
from a manifest is held against the caps before it runs; the cost of a derivation follows
from the value's kind alone, so all classes of a value share it. Which values there are,
and where packs lie, is not known here.
"""
