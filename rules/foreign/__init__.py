"""Rules of other tools: matched in batch, and the thesis's PBKDF2 format written.

In: a folder or file of Jacquet's thesis code or of the paper's proof of concept, and
values that were seen. Out: matches, after the price was said: each rule has its own
salt, so every value costs one derivation a rule. For `export-foreign`, a folder.

What must hold: the files are somebody else's, so sizes and costs are bounded and nothing
is unpickled; values are spelt as the other tool spells them, not as `canonical` does.
No waiting request ever comes here (docs/decisions/0017).
"""
