"""The helper that Squid starts (external_acl_type): a line in, OK, ERR or BH out.

`protocol` is bytes in, bytes out; `loop` alone reads from Squid and `answers` alone
writes to it. One thread, the main loop, takes all requests through the steps of their
look-up. Others derive keys, warm up new generations and commit the journal.

What must hold: each line with an ID is answered once and nothing else is, since Squid
aborts at an ID that it does not know; no answer waits for a disk; what cannot be told
ends in the answer that `fail` names, never in the end of the process. Where rules come
from, and what becomes of a sighting, is not known here.
"""
