"""A pack as files: manifest, signature, rules, gates (docs/format.md, section 6).

In: rows in the order of their tags, gates, a manifest without its files. Out: a folder
whose manifest names each file with size and digest; and the other way round.

What must hold: what is read is bounded and strict, with one spelling a row; a signature
is checked before anything in the manifest is believed; the checks on a manifest read no
file and no clock, so that every attack can be a test. Nothing is opened or installed
here.
"""
