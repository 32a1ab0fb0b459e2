"""Putting inkgate's lines where Squid asks them first, and taking them out again.

In: Squid's configuration file, the lines to put in. Out: changed files, each whole, with what
was there before in a folder of backups.

What must hold: nothing is changed before all of it is known and Squid has parsed a copy;
root writes only into folders that root alone may change; the administrator's file keeps its
mode and owner and all other lines; what Squid then refuses is undone. What the lines say is
not known here.
"""
