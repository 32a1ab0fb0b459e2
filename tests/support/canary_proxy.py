"""What a check asks of a front end, and what the journal then says."""

from __future__ import annotations

import json
from typing import Any

from inkgate.rules.crypto.canaries import Canaries, canaries
from inkgate.rules.crypto.keys import read_token
from support.installation import Installation


def canaries_of(installation: Installation) -> Canaries:
    """Those of the installation's own token."""
    return canaries(read_token(installation.places.token_file))


def records(installation: Installation, *options: str) -> list[dict[str, Any]]:
    """What `inkgate-sightings list` shows."""
    done = installation.run("inkgate-sightings", "list", "--json", *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
