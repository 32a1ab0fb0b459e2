"""`inkgate squid`: Squid's side put in place, checked through the proxy, taken out again.

What squid.conf means and how it is changed is known to `squid_conf`; here are the commands:
what they are given, in which order they go, what they say.
"""
