"""What runs the KDF profiles (docs/format.md, section 3): one module an algorithm.

A KDF stretches a 32-byte password under a 16-byte salt to 32 bytes. `registry.kdf_of`
gives the one that a profile asks for; it is asked once for each kind of a rule set, not
for each value. Callers of the derivation hand over values in groups where they have
several (`Deriver.stretch_many`, and the steps of a look-up), so that a KDF may also be a
request to another machine.
"""
