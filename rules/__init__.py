"""Encrypted rules: read, canonicalise, derive, seal, publish, match."""
