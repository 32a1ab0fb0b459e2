"""What goes wrong is counted and dated: one store that all processes write and status reads.

In: a process names a condition from one table (`conditions`) or adds to a counter. Out: a
dated line in the log, and numbers that survive the process.

Each process has a file of its own, mapped into memory, so that counting costs a memory
access and no system call, needs no lock between processes, and loses nothing to kill -9.
While a process lives it holds a lock on its file: a reader tells the living from the dead
by it, never by a process number. Readers trust nothing in the files, since they may run as
another user. Nothing here knows rules, indicators, clients or requests.
"""
