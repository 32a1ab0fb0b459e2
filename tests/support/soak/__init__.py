"""Set-ups that live for long under load, faults for them, and what must be right of them."""
