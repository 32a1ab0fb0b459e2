"""What both sides of an aggregation keep and send: mailbox, durable record, state folder.

In: a protocol's answers and messages. Out: the same messages at the other side, whenever
each side runs.

What must hold: an answer is on the disk before it leaves; a side that was killed goes on
where it was; the mailbox is trusted with nothing. What a message says is not known
here.
"""
