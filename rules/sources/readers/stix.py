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
from inkgate.config.whole_file import write_whole
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.file_format import FileFormat
from inkgate.rules.sources.readers.misp_event import read_event_file
from inkgate.rules.sources.readers.source_file import SourceFile

_REMEDY: Final = "export the bundle again"
_PROBE_BYTES: Final = 1 << 16


class _Probe(msgspec.Struct):
    type: str = ""


def is_stix_file(file: SourceFile) -> bool:
    """Whether a JSON file is a STIX bundle, judged by its outermost `type`."""
    if not file.is_json:
        return False
    # Its members come in any order, so its type may stand first or last.
    if b'"bundle"' not in file.head and b'"bundle"' not in file.read_all()[-_PROBE_BYTES:]:
        return False
    try:
        return msgspec.json.decode(file.read_all(), type=_Probe).type == "bundle"
    except (msgspec.MsgspecError, UnicodeError, RecursionError, Unreadable):
        # Cut off, but named as what it is, it is better reported as a bundle.
        return True


def read_stix_file(file: SourceFile) -> Iterator[Attribute]:
    """All attributes of a bundle's indicators and observables.

    Raises:
        Unreadable: it is not a sound STIX 2.1 bundle, or misp-stix is not installed.
    """
    data = file.read_all()
    try:
        msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise file.unreadable("is not JSON, or is cut off", _REMEDY) from None
    with tempfile.TemporaryDirectory(prefix="inkgate-stix-") as folder:
        plain = Path(folder) / "bundle.json"
        write_whole(plain, data, 0o600)
        converted = _convert(file, plain, Path(folder))
        yield from list(read_event_file(SourceFile(converted, file.given)))


def _convert(file: SourceFile, plain: Path, folder: Path) -> Path:
    try:
        # Imported here: it takes seconds, and only who has bundles needs it.
        from misp_stix_converter import stix_2_to_misp  # noqa: PLC0415
    except ImportError:
        raise file.unreadable(
            "is a STIX bundle, for which misp-stix is needed", remedy("stix")
        ) from None
    logging.getLogger("misp_stix_converter").setLevel(logging.CRITICAL)
    try:
        with redirect_stdout(sys.stderr):
            done = stix_2_to_misp(plain, single_event=True, output_dir=folder)
    except Exception as error:  # noqa: BLE001 (a foreign parser of hostile input)
        raise _unreadable(file, type(error).__name__) from None
    results = done.get("results") or []
    if not results:
        raise _unreadable(file, ", ".join(sorted(done)))
    return Path(results[0])


def _unreadable(file: SourceFile, said: str) -> Unreadable:
    return file.unreadable(f"is not a STIX 2.1 bundle that misp-stix reads ({said})", _REMEDY)


FORMAT: Final = FileFormat("STIX 2.1", (".json", ".stix", ".stix2"), is_stix_file, read_stix_file)
