"""What an installed set resists: cost of a guess here, cost to an attacker, a real attack.

In: the installed generation and its token, published speeds of attackers' hardware
(figures.toml), for `calibrate` a budget and a log. Out: tables, JSON, a picture, a
proposal of KDF profiles.

What must hold: a figure is cited or measured, never guessed; the real attack does what a
thief could do and no more, within `--limit`; recovered values are shown only if asked
for. No proxy needs this: front ends do not import it.
"""
