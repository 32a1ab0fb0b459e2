"""How each foreign format makes an AES key of a value, one module a derivation.

In: the [crypto] section of a set's metadata, or of a rule. Out: a RuleFormat, which
gives each rule the KeyDerivation with its cost.

What must hold: the bytes are those of the other tool's code; a cost above `[rules.caps]`
is refused when the set is read, before anything runs. Files and AES are not known here.
"""
