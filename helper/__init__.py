"""Squid external_acl_type helper: request line in, OK, ERR or BH out."""
