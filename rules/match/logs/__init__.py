"""Log formats: a line in, an entry out. No I/O.

In: a line, or a chunk of lines with what is known to be clean. Out: an Entry, the same
whatever the format; None for a line that is not of the format.

What must hold: a reader never raises, whatever the line; a line that it leaves out as
known to be clean is one whose every part is. Rules and files are not known here;
`registry` says which formats there are, and guesses one from the first lines.
"""
