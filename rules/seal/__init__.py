"""From records to a signed pack: epochs, derivations, runs, dummies, publication.

In: the spool's partitions of records, a subscriber's token and profiles. Out: one run a
partition (sealed rows, sorted, with the numbers for gates), and of all runs a pack.

What must hold: what did not change is neither derived nor sealed again; work that was
paid for survives a kill; a dummy looks like a rule, also beside an older pack; a pack
appears by one rename. Where attributes came from is not known here.
"""
