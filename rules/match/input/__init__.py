"""Where lines come from: files, standard input, growing files, a Redis list or stream.

In: names, or the URL and key of a queue. Out: chunks of whole lines, each of one input
and one format, with a function to call when its matches have been told.

What must hold: no line is lost or cut in two by blocks, rotation, compression or a
killed consumer; a Redis that is away is waited for. What a line says is not known here.
"""
