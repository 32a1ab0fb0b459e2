"""The formats that `[[sightings.export]]` can name."""

from __future__ import annotations

from typing import Final

from inkgate.sightings.export import cef, ecs, ocsf, stix
from inkgate.sightings.export.format import ExportFormat

FORMATS: Final[tuple[ExportFormat, ...]] = (stix.FORMAT, ecs.FORMAT, ocsf.FORMAT, cef.FORMAT)
BY_NAME: Final = {known.name: known for known in FORMATS}
