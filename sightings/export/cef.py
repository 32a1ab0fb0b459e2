"""ArcSight's Common Event Format, version 0: one line a matched rule."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Final

from inkgate.config.printable import printable
from inkgate.sightings.export import names
from inkgate.sightings.export.format import (
    Entry,
    LineFormat,
    Producer,
    client_of,
    milliseconds,
)
from inkgate.sightings.export_settings import ExportSettings
from inkgate.sightings.journal.sighting import Sighting

# Of 0 to 10.
_BLOCKED: Final = 7
_LOGGED: Final = 4
_BEGINS: Final = b"CEF:0|"


def _lines(producer: Producer, _: ExportSettings, entry: Entry) -> Iterator[bytes]:
    yield line(producer, entry.sighting).encode("utf-8", "replace")


def line(producer: Producer, sighting: Sighting) -> str:
    """A matched rule as a line, without its end."""
    is_blocked = sighting.action == "block"
    header = (
        "inkgate",
        "inkgate",
        producer.version,
        sighting.indicator_class,
        f"Request {'blocked' if is_blocked else 'let pass'}: listed in MISP",
        str(_BLOCKED if is_blocked else _LOGGED),
    )
    extension = _extension(producer, sighting)
    told = " ".join(f"{key}={_value(text)}" for key, text in extension.items() if text)
    return f"{_BEGINS.decode()}{'|'.join(map(_header, header))}|{told}"


def _extension(producer: Producer, sighting: Sighting) -> Mapping[str, str]:
    attributes = " ".join(sighting.attributes)
    events = " ".join(dict.fromkeys(filter(None, sighting.events)))
    return {
        "rt": str(milliseconds(sighting.time)),
        "externalId": names.finding(producer.installation, sighting),
        "act": sighting.action,
        "cat": sighting.indicator_class,
        "dvchost": sighting.node,
        "requestMethod": sighting.method,
        "cs1": sighting.incident,
        "cs1Label": "incident",
        **_labelled("cs2", "mispAttributes", attributes),
        **_labelled("cs3", "mispEvents", events),
        **_client(sighting),
    }


def _client(sighting: Sighting) -> Mapping[str, str]:
    client = client_of(sighting)
    if not client.address:
        return _labelled("cs4", "client", client.text)
    # `src` is of version 4 only.
    if ip_address(client.address).version == 4:
        return {"src": client.address}
    return _labelled("c6a2", "Source IPv6 Address", client.address)


def _labelled(key: str, label: str, text: str) -> Mapping[str, str]:
    return {key: text, f"{key}Label": label} if text else {}


def _header(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace("|", "\\|")


def _value(text: str) -> str:
    return printable(text).replace("\\", "\\\\").replace("=", "\\=")


FORMAT: Final = LineFormat("cef", _BEGINS, _lines)
