"""Rules of other tools: read and matched in batch, and the thesis's PBKDF2 format written."""
