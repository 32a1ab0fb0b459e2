"""Asking other machines that are not trusted: bounded in time, in size and in where they lead.

In: an address, and how long and how much it may take. Out: what was answered, in pieces, or
one of the errors of `errors`, whose texts hold nothing that was received.

What must hold: whoever is asked can neither keep us longer than the deadline, however slowly
it answers, nor fill the memory, nor send us to another host. What an answer means is not
known here.
"""
