"""Where indicators come from: files, lists, MISP feeds, a MISP's REST API or its database.

In: the entries of `[[rules.sources]]`. Out: attributes in MISP's words, one at a time,
the same structure whatever the source.

What must hold: a source that is broken tonight does not unblock what it listed
yesterday (its last good reading counts, and the fault is said); what comes from outside
is bounded in size and time; secrets stay out of errors. Whether an attribute becomes a
rule is not known here.
"""
