"""Dialects of lists: what the lines of a plain list, a hosts file, an RPZ zone and so on say.

In: the text of one line. Out: the values that it lists, each with a type of MISP, or why it
is refused, or why it lists nothing though it is understood.

What must hold: no line is lost: one that no dialect understands is refused, and no text of
a line is ever part of a reason. Files, their encodings and their places are known to
`inkgate.rules.sources.readers.list_file`.
"""
