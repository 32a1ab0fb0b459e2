"""What Squid needs to ask inkgate: lines of squid.conf, the blocked page, a trial.

In: `[squid_conf]`, `[helper]` and `[icap]` of the settings. Out: text that Squid reads;
for `run`, a whole Squid on 127.0.0.1 with sample events.

What must hold: no text from the settings can end a line or a word of squid.conf; a
helper that Squid's user cannot start is said before Squid finds out. Verdicts are not
known here; the front ends know nothing of this package.
"""
