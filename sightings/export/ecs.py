"""Elastic Common Schema: one document a matched rule, in JSON lines.

A document has fields of the schema only. The incident's id is `http.request.id`, as it also is
in Squid's access log, and a label.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from inkgate.sightings.export import names
from inkgate.sightings.export.format import Entry, LineFormat, Producer, client_of, json_line
from inkgate.sightings.export_settings import ExportSettings
from inkgate.sightings.journal.sighting import Sighting

VERSION: Final = "9.4.0"
_NAME: Final = "inkgate"
# Only classes of which the schema has the type for certain: an `ip-dst` is of version 4 or 6.
_INDICATOR_TYPES: Final = {
    "domain": "domain-name",
    "hostname": "domain-name",
    "url": "url",
    "uri": "url",
    "link": "url",
    "md5": "file",
    "sha1": "file",
    "sha224": "file",
    "sha256": "file",
    "sha384": "file",
    "sha512": "file",
    "filename": "file",
    "x509-fingerprint-md5": "x509-certificate",
    "x509-fingerprint-sha1": "x509-certificate",
    "x509-fingerprint-sha256": "x509-certificate",
}


def _lines(producer: Producer, _: ExportSettings, entry: Entry) -> Iterator[bytes]:
    yield json_line(document(producer, entry.sighting))


def document(producer: Producer, sighting: Sighting) -> dict[str, object]:
    """A matched rule as a document."""
    is_blocked = sighting.action == "block"
    done = "blocked" if is_blocked else "let pass"
    kind = sighting.indicator_class
    request = {"id": sighting.incident} | ({"method": sighting.method} if sighting.method else {})
    return {
        "@timestamp": _moment(sighting.time),
        "ecs": {"version": VERSION},
        "message": f"Request {done}: MISP lists its {kind} ({sighting.incident})",
        "event": {
            "kind": "alert",
            "category": ["intrusion_detection", "network"],
            "type": ["denied" if is_blocked else "allowed"],
            "action": sighting.action,
            # What became of a request that was let pass is not known here.
            "outcome": "success" if is_blocked else "unknown",
            "id": names.finding(producer.installation, sighting),
            "module": _NAME,
            "dataset": f"{_NAME}.sightings",
            "provider": _NAME,
        },
        "rule": _rule(sighting),
        "threat": _threat(sighting),
        "observer": {
            "vendor": _NAME,
            "product": _NAME,
            "type": "proxy",
            "version": producer.version,
            "name": sighting.node,
        },
        "http": {"request": request},
        "labels": _labels(sighting),
        **_client(sighting),
    }


def _rule(sighting: Sighting) -> dict[str, object]:
    kind = sighting.indicator_class
    rule: dict[str, object] = {"name": f"MISP {kind}", "category": kind, "ruleset": "MISP"}
    return rule | ({"uuid": sighting.attributes[0]} if sighting.attributes else {})


def _threat(sighting: Sighting) -> dict[str, object]:
    indicator: dict[str, object] = {"provider": "MISP"}
    if sighting.attributes:
        indicator["id"] = list(sighting.attributes)
    if kind := _INDICATOR_TYPES.get(sighting.indicator_class):
        indicator["type"] = kind
    return {"feed": {"name": "MISP"}, "indicator": indicator}


def _labels(sighting: Sighting) -> dict[str, str]:
    """A label is one text."""
    events = " ".join(dict.fromkeys(filter(None, sighting.events)))
    return {"incident": sighting.incident} | ({"misp_events": events} if events else {})


def _client(sighting: Sighting) -> dict[str, object]:
    client = client_of(sighting)
    if client.address:
        source = {"address": client.address, "ip": client.address}
        return {"source": source, "related": {"ip": [client.address]}}
    # A field of type `ip` takes neither a network nor a pseudonym.
    return {"source": {"address": client.text}} if client.text else {}


def _moment(seconds: float) -> str:
    when = datetime.fromtimestamp(seconds, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


FORMAT: Final = LineFormat("ecs", b"{", _lines)
