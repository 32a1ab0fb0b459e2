"""From the journal to those who do not read MISP: files for a SIEM, STIX for a TAXII server.

In: the records of a journal, and what was marked as a false positive. Out: lines of ECS, OCSF
or CEF in a file, bundles in a folder, objects in a collection of a TAXII 2.1 server.

What must hold: each export has a position of its own and waits for nobody, MISP least of all;
no URL and no indicator leaves, nor anything of the check through the proxy; an id follows from
what it is about, so what is written or sent twice is recognised; no line is written in parts.
A format is one file and one line in `registry`.
"""
