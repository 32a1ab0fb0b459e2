"""ICAP/1.0 on the wire (RFC 3507): bytes in, events and bytes out, no I/O."""
