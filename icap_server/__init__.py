"""inkgate over ICAP (RFC 3507): the helper's verdicts for any proxy, and bodies by their digest."""
