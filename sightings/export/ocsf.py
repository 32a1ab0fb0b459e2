"""Open Cybersecurity Schema Framework: Detection Finding (2004) and HTTP Activity (4002).

A finding for each matched rule, and an activity for each request whose client and method are
known. A mark of the help desk closes its finding as a false positive.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from inkgate.sightings.export import names
from inkgate.sightings.export.format import (
    Entry,
    FalsePositive,
    LineFormat,
    Producer,
    client_of,
    json_line,
    milliseconds,
)
from inkgate.sightings.export_settings import ExportSettings
from inkgate.sightings.journal.sighting import Sighting

Json = dict[str, object]

VERSION: Final = "1.8.0"
_FINDING: Final = 2004
_HTTP: Final = 4002
_CATEGORIES: Final = {_FINDING: "Findings", _HTTP: "Network Activity"}
_CLASSES: Final = {_FINDING: "Detection Finding", _HTTP: "HTTP Activity"}
_CREATE: Final = (1, "Create")
_CLOSE: Final = (3, "Close")
_OTHER: Final = 99
_METHODS: Final = {
    "CONNECT": (1, "Connect"),
    "DELETE": (2, "Delete"),
    "GET": (3, "Get"),
    "HEAD": (4, "Head"),
    "OPTIONS": (5, "Options"),
    "POST": (6, "Post"),
    "PUT": (7, "Put"),
    "TRACE": (8, "Trace"),
    "PATCH": (9, "Patch"),
}
_IP_ADDRESS: Final = {"type_id": 2, "type": "IP Address"}


def _lines(producer: Producer, settings: ExportSettings, entry: Entry) -> Iterator[bytes]:
    sighting = entry.sighting
    if _FINDING in settings.classes:
        yield json_line(finding(producer, sighting))
    # A request that matched several rules is one activity.
    if _HTTP in settings.classes and entry.is_first and _is_http(sighting):
        yield json_line(http_activity(producer, sighting))


def _marks(producer: Producer, mark: FalsePositive) -> Iterator[bytes]:
    yield json_line(closed(producer, mark))


def finding(producer: Producer, sighting: Sighting) -> Json:
    """A matched rule as a Detection Finding that is created."""
    uid = names.finding(producer.installation, sighting)
    is_blocked = _is_blocked(sighting)
    activity = names.request(producer.installation, sighting)
    return {
        **_event(producer, sighting, _FINDING, _CREATE, uid),
        **_control(sighting),
        "time": milliseconds(sighting.time),
        "severity_id": 3 if is_blocked else 2,
        "severity": "Medium" if is_blocked else "Low",
        "status_id": 1,
        "status": "New",
        "is_alert": True,
        "message": _title(sighting),
        "finding_info": _finding_info(producer, sighting, activity),
        **_evidence(sighting),
    }


def closed(producer: Producer, mark: FalsePositive) -> Json:
    """A finding that the help desk has called a false positive."""
    sighting = mark.sighting
    uid = names.false_positive(producer.installation, sighting)
    event = _event(producer, sighting, _FINDING, _CLOSE, uid, "security_control", "incident")
    info = _finding_info(producer, sighting, "")
    return {
        **event,
        **_control(sighting),
        "time": milliseconds(mark.time),
        "severity_id": 1,
        "severity": "Informational",
        "status_id": 3,
        "status": "Suppressed",
        "verdict_id": 1,
        "verdict": "False Positive",
        "is_alert": False,
        "message": f"False positive: {_title(sighting)}",
        "finding_info": info | {"modified_time": milliseconds(mark.time)},
    }


def http_activity(producer: Producer, sighting: Sighting) -> Json:
    """A request as an HTTP Activity."""
    uid = names.request(producer.installation, sighting)
    activity = _METHODS.get(sighting.method, (_OTHER, sighting.method))
    known = {"http_method": sighting.method} if sighting.method in _METHODS else {}
    is_blocked = _is_blocked(sighting)
    return {
        **_event(producer, sighting, _HTTP, activity, uid),
        **_control(sighting),
        "time": milliseconds(sighting.time),
        "severity_id": 1,
        "severity": "Informational",
        "status_id": 2 if is_blocked else 0,
        "status": "Failure" if is_blocked else "Unknown",
        "message": _title(sighting),
        "http_request": {"uid": sighting.incident, **known},
        "src_endpoint": _endpoint(sighting),
    }


def _event(
    producer: Producer,
    sighting: Sighting,
    number: int,
    activity: tuple[int, str],
    uid: str,
    *profiles: str,
) -> Json:
    """What every event has."""
    code, name = activity
    return {
        "category_uid": number // 1000,
        "category_name": _CATEGORIES[number],
        "class_uid": number,
        "class_name": _CLASSES[number],
        "activity_id": code,
        "activity_name": name,
        "type_uid": number * 100 + code,
        "type_name": f"{_CLASSES[number]}: {'Other' if code == _OTHER else name}",
        "metadata": {
            "version": VERSION,
            "uid": uid,
            "correlation_uid": sighting.incident,
            "log_name": "sightings",
            "profiles": list(profiles or ("security_control",)),
            "product": {
                "name": "inkgate",
                "vendor_name": "inkgate",
                "version": producer.version,
            },
            "reporter": {"name": sighting.node},
        },
    }


def _control(sighting: Sighting) -> Json:
    """The profile Security Control: what was done."""
    if _is_blocked(sighting):
        return {
            "action_id": 2,
            "action": "Denied",
            "disposition_id": 2,
            "disposition": "Blocked",
        }
    return {"action_id": 3, "action": "Observed", "disposition_id": 17, "disposition": "Logged"}


def _finding_info(producer: Producer, sighting: Sighting, activity: str) -> Json:
    # A rule may stand for several attributes, and name none.
    uid = sighting.attributes[0] if sighting.attributes else sighting.indicator_class
    analytic = {"type_id": 1, "type": "Rule", "name": sighting.indicator_class, "uid": uid}
    tags = [
        {"name": name, "values": list(dict.fromkeys(filter(None, values)))}
        for name, values in (
            ("misp-attribute", sighting.attributes),
            ("misp-event", sighting.events),
        )
        if any(values)
    ]
    related = activity and _is_http(sighting)
    return {
        "uid": names.finding(producer.installation, sighting),
        "title": _title(sighting),
        "types": ["MISP attribute"],
        "created_time": milliseconds(sighting.time),
        "analytic": analytic,
        **({"tags": tags} if tags else {}),
        **({"related_events": [{"uid": activity}]} if related else {}),
    }


def _evidence(sighting: Sighting) -> Json:
    endpoint = _endpoint(sighting)
    if not endpoint:
        return {}
    found: Json = {"evidences": [{"src_endpoint": endpoint}]}
    if "ip" in endpoint:
        observable = {"name": "evidences.src_endpoint.ip", "value": endpoint["ip"]}
        found["observables"] = [observable | _IP_ADDRESS]
    return found


def _endpoint(sighting: Sighting) -> Json:
    client = client_of(sighting)
    told = {"ip": client.address, "name": client.network, "uid": client.pseudonym}
    return {key: text for key, text in told.items() if text}


def _title(sighting: Sighting) -> str:
    done = "blocked" if _is_blocked(sighting) else "let pass"
    return f"Request {done}: MISP lists its {sighting.indicator_class} ({sighting.incident})"


def _is_blocked(sighting: Sighting) -> bool:
    return sighting.action == "block"


def _is_http(sighting: Sighting) -> bool:
    """Whether there is enough for an HTTP Activity, which has a method and an end point."""
    return bool(sighting.method and client_of(sighting).text)


FORMAT: Final = LineFormat("ocsf", b"{", _lines, _marks)
