"""Protocol `shi`: encrypted counts and a dealt key (Shi et al., NDSS 2011); section 10.5.

In: a key from the dealer, counts, labels. Out: one point a label from each subscriber;
for the aggregator the totals, by a bounded discrete logarithm.

What must hold: every point has one encoding and is on the curve; all subscribers of the
group are in the sum, or there is none. Who dealt the keys, and how points travel, is
not known here.
"""
