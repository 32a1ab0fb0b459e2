#!/usr/bin/python3 -IS
"""Answers every line with ERR, as fast as Python can."""

import os

rest = b""
while data := os.read(0, 1 << 16):
    *lines, rest = (rest + data).split(b"\n")
    os.write(1, b"".join(line.split(b" ", 1)[0] + b" ERR\n" for line in lines))
