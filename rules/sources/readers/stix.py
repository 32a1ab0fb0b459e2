"""STIX 2.1 bundles, converted to MISP attributes by misp-stix."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Final

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.config.extras import remedy
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.file_format import FileFormat
from inkgate.rules.sources.readers.misp_event import read_event_file, read_limited

_REMEDY: Final = "export the bundle again"
_PROBE_BYTES: Final = 1 << 16


class _Probe(msgspec.Struct):
    type: str = ""


def is_stix_file(path: Path) -> bool:
    """Whether a JSON file is a STIX bundle, judged by its outermost `type`."""
    try:
        with path.open("rb") as file:
            # Its members come in any order, so its type may stand first or last.
            some = file.read(_PROBE_BYTES)
            file.seek(max(0, path.stat().st_size - _PROBE_BYTES))
            some += file.read(_PROBE_BYTES)
    except OSError:
        return False
    if b'"bundle"' not in some:
        return False
    try:
        return msgspec.json.decode(read_limited(path), type=_Probe).type == "bundle"
    except (msgspec.MsgspecError, UnicodeError, RecursionError, Unreadable):
        # Cut off, but named as what it is, it is better reported as a bundle.
        return True


def read_stix_file(path: Path) -> Iterator[Attribute]:
    """All attributes of a bundle's indicators and observables.

    Raises:
        Unreadable: it is not a sound STIX 2.1 bundle, or misp-stix is not installed.
    """
    data = read_limited(path)
    try:
        msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Unreadable(path, None, "is not JSON, or is cut off", _REMEDY) from None
    with tempfile.TemporaryDirectory(prefix="inkgate-stix-") as folder:
        converted = _convert(path, Path(folder))
        yield from list(read_event_file(converted))


def _convert(path: Path, folder: Path) -> Path:
    try:
        # Imported here: it takes seconds, and only who has bundles needs it.
        from misp_stix_converter import stix_2_to_misp  # noqa: PLC0415
    except ImportError:
        raise Unreadable(
            path, None, "is a STIX bundle, for which misp-stix is needed", remedy("stix")
        ) from None
    logging.getLogger("misp_stix_converter").setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(sys.stderr):
            done = stix_2_to_misp(path.resolve(), single_event=True, output_dir=folder)
    except Exception as error:  # noqa: BLE001 (a foreign parser of hostile input)
        raise _unreadable(path, type(error).__name__) from None
    results = done.get("results") or []
    if not results:
        raise _unreadable(path, ", ".join(sorted(done)))
    return Path(results[0])


def _unreadable(path: Path, said: str) -> Unreadable:
    return Unreadable(
        path, None, f"is not a STIX 2.1 bundle that misp-stix reads ({said})", _REMEDY
    )


def _is_stix(path: Path) -> bool:
    return path.suffix == ".json" and is_stix_file(path)


FORMAT: Final = FileFormat("STIX 2.1", (".json",), _is_stix, read_stix_file)
