"""One refresh: read the sources, select, seal what is new, publish, install.

In: `[rules]` of the settings, and what one run does differently (`Options`). Out: a pack
for one subscriber, installed if the subscriber is this machine; a summary; a report of
what was left out.

What must hold: one refresh at a time; if it fails or is killed, the pack and the
generation of before stay in use; a source that cannot be read counts as it was read
last, and is said. How attributes are read, judged and sealed is not known here: this
room only puts `sources`, `select`, `seal`, `pack` and `install` in a row.
"""
