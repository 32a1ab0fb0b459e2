"""Protocol `masked`: sums under pairwise masks (Bonawitz et al., CCS 2017); section 10.6.

In: a subscriber's secret and vector of counts, and what the other side said in earlier
rounds. Out: the message of each round; for the aggregator the sum of those who stayed.

What must hold: nobody gets both kinds of shares of one subscriber; nobody signs two sets
of survivors; false shares never give a wrong total. Mailboxes and files are not known
here: a round is a function of the secret and of the history.
"""
