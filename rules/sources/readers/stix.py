"""STIX 2.0 and 2.1 bundles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.config.extras import remedy
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.file_format import FileFormat
from inkgate.rules.sources.readers.source_file import SourceFile
from inkgate.rules.sources.readers.stix_misp import attributes_of_misp, is_of_misp
from inkgate.rules.sources.readers.stix_objects import (
    attributes_of,
    context_of,
    items_of,
    objects_leniently,
    objects_of,
)

_REMEDY: Final = "export the bundle again"
_PROBE_BYTES: Final = 1 << 16


class _Probe(msgspec.Struct):
    type: Any = ""


def is_stix_file(file: SourceFile) -> bool:
    """Whether a JSON file is a STIX bundle, judged by its outermost `type`."""
    if not file.is_json:
        return False
    # Its members come in any order, so its type may stand first or last.
    if b'"bundle"' not in file.head and b'"bundle"' not in file.read_all()[-_PROBE_BYTES:]:
        return False
    try:
        return bool(msgspec.json.decode(file.read_all(), type=_Probe).type == "bundle")
    except msgspec.ValidationError:
        return False
    except (msgspec.MsgspecError, UnicodeError, RecursionError, Unreadable):
        # Cut off, but named as what it is, it is better reported as a bundle.
        return True


def read_stix_file(file: SourceFile) -> Iterator[Attribute]:
    """What the objects of a bundle list, each object at least once.

    Raises:
        Unreadable: it is no bundle, or a library that reads it is not installed; then not
            one object was given.
    """
    items = items_of(_objects(file), file.name)
    context, now = context_of(items), datetime.now(UTC)
    try:
        if is_of_misp(items):
            found = attributes_of_misp(items, context, file, now)
        else:
            found = attributes_of(items, context, now)
        # All of them before the first is given.
        yield from list(found)
    except ImportError:
        raise file.unreadable(
            "is a STIX bundle, for which misp-stix and stix2-patterns are needed", remedy("stix")
        ) from None


def _objects(file: SourceFile) -> Sequence[bytes | msgspec.Raw]:
    data = file.read_json()
    try:
        return objects_of(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        found = objects_leniently(data)
        if found is None:
            raise file.unreadable(_problem(error), _REMEDY) from None
        return found


def _problem(error: Exception) -> str:
    if isinstance(error, msgspec.ValidationError):
        return "is not a STIX bundle: its objects are no list"
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    return "is not JSON, or is cut off"


FORMAT: Final = FileFormat("STIX 2", (".json", ".stix", ".stix2"), is_stix_file, read_stix_file)
