"""Dialects of lists: what the lines of a plain list, a hosts file, an RPZ zone … say.

No files here: a dialect is a function of one line. `..line_list` reads the files.
"""
