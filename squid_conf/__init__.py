"""squid.conf fragments, the blocked page, and a trial Squid to see them work."""
