"""The proxy that a source is reached through, as a key of its settings."""

from __future__ import annotations

from typing import Annotated

import msgspec

Proxy = Annotated[str, msgspec.Meta(pattern=r"^(none|https?://[^/\s]+/?)?$")]
"""A proxy's address; `none` for none, and nothing for that of the environment."""
