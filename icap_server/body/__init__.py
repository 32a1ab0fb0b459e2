"""Bodies of responses: decoded, hashed and held back while they stream. No I/O."""
