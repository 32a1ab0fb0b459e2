"""Named fields of a log, whatever log it is, to an entry.

The names are Zeek's (Zeek manual, log files), Suricata's (EVE JSON format), the
Elastic Common Schema's, Squid's by its own documentation, and MISP's types.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Final

from inkgate.rules.canonical import ObservedAt, Refused, class_of
from inkgate.rules.canonical.classes import CLASSES
from inkgate.rules.match.logs.entry import MAX_VALUES, Entry

MAX_FIELDS: Final = 256

LogFields = Mapping[str, str | list[str]] | Mapping[str, list[str]]

_TIME: Final = ("ts", "@timestamp", "timestamp", "time")
_CLIENT: Final = ("id.orig_h", "source.ip", "client.ip", "src_ip", "ip-src", "client", "clientip")
_SERVER: Final = (
    "id.resp_h",
    "destination.ip",
    "server.ip",
    "dest_ip",
    "dst_ip",
    "ip-dst",
    "server",
    "tx_hosts",
)
_PORT: Final = ("id.resp_p", "destination.port", "server.port", "dest_port", "dst_port")
_METHOD: Final = ("method", "http.request.method", "http.http_method")
_URI: Final = ("url.full", "url.original", "http.url", "url", "uri", "link", "request_url")
_HOST: Final = ("http.hostname", "url.domain", "host")
_AGENT: Final = ("user_agent.original", "http.http_user_agent", "user_agent", "user-agent")
_NAMES: Final = (
    "query",
    "server_name",
    "dns.question.name",
    "dns.rrname",
    "dns.queries.rrname",
    "dns.answers.name",
    "dns.answers.rrname",
    "tls.sni",
    "tls.client.server_name",
    "domain",
    "hostname",
    "destination.domain",
)
_ADDRESSES: Final = (
    "answers",
    "dns.resolved_ip",
    "dns.answers.data",
    "dns.answers.rdata",
    "dns.rdata",
    "dns.grouped.A",
    "dns.grouped.AAAA",
    "dns.grouped.CNAME",
)
_FILENAME: Final = ("filename", "file.name", "fileinfo.filename")
_DIGESTS: Final = {
    "md5": ("md5", "file.hash.md5", "fileinfo.md5"),
    "sha1": ("sha1", "file.hash.sha1", "fileinfo.sha1"),
    "sha256": ("sha256", "file.hash.sha256", "fileinfo.sha256"),
}
# The classes of a file's name together with its digest.
_WITH_NAME: Final = {
    digest: tuple(
        name
        for name, known in CLASSES.items()
        if known.forms == (*CLASSES["filename"].forms, *CLASSES[digest].forms)
    )
    for digest in _DIGESTS
}
_VALUES: Final = {
    "ja3": "ja3-fingerprint-md5",
    "tls.client.ja3": "ja3-fingerprint-md5",
    "tls.ja3.hash": "ja3-fingerprint-md5",
    "cert_chain_fps": "x509-fingerprint-sha256",
    "tls.fingerprint": "x509-fingerprint-sha1",
    "tls.server.hash.sha1": "x509-fingerprint-sha1",
    "tls.server.hash.sha256": "x509-fingerprint-sha256",
}
# Fields with names and digests of files, which `_files` reads.
_OF_FILES: Final = frozenset((*_FILENAME, *(name for names in _DIGESTS.values() for name in names)))
_ADDRESS: Final = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*")


def entry_of(fields: LogFields) -> Entry:
    """What named fields show. Never raises."""
    answers = [text for name in _ADDRESSES for text in _all(fields.get(name))]
    return Entry(
        time=_first(fields, _TIME),
        client=_first(fields, _CLIENT),
        method=_first(fields, _METHOD),
        uri=_uri(fields),
        server=_first(fields, _SERVER),
        port=_first(fields, _PORT),
        user_agent=_first(fields, _AGENT),
        names=_distinct(
            *(text for name in _NAMES for text in _all(fields.get(name))),
            # An answer that is a name is a CNAME.
            *(text for text in answers if not _ADDRESS.fullmatch(text) and _is_name(text)),
        ),
        addresses=_distinct(*(text for text in answers if _ADDRESS.fullmatch(text))),
        values=tuple(dict.fromkeys(_values(fields)))[:MAX_VALUES],
    )


def _uri(fields: LogFields) -> str:
    uri = _first(fields, _URI)
    host = _first(fields, _HOST)
    if uri.startswith("/") and not uri.startswith("//"):
        # Zeek and Suricata log the path and the Host header in two fields.
        return _with_port(host, _first(fields, _PORT)) + uri if host else ""
    if uri:
        return uri
    if not host or host.startswith("/"):
        return ""
    return _with_port(host, _first(fields, _PORT)) + "/" if _is_name(host) else ""


def _with_port(host: str, port: str) -> str:
    shown = f"[{host}]" if ":" in host and not host.startswith("[") and "]" not in host else host
    if host.count(":") == 1:
        return f"http://{host}"
    return f"http://{shown}:{port}" if port else f"http://{shown}"


def _is_name(text: str) -> bool:
    return "." in text and " " not in text


def _values(fields: LogFields) -> Iterator[tuple[str, str]]:
    yield from _files(fields)
    for field_name in fields:
        kind = _kind(field_name)
        for text in _all(fields.get(field_name)) if kind else ():
            yield kind, text


@functools.lru_cache(maxsize=4096)
def _kind(field_name: str) -> str:
    """The class of a field's values; empty for fields that `entry_of` reads itself."""
    name = _VALUES.get(field_name, field_name)
    try:
        logged = name not in _OF_FILES and ObservedAt.LOG_FIELD in class_of(name).observed_at
    except Refused:
        return ""
    return name if logged else ""


def _files(fields: LogFields) -> Iterator[tuple[str, str]]:
    name = _first(fields, _FILENAME)
    if name:
        yield "filename", name
    for kind, field_names in _DIGESTS.items():
        for text in dict.fromkeys(
            t for field_name in field_names for t in _all(fields.get(field_name))
        ):
            yield kind, text
            for both in _WITH_NAME[kind] if name else ():
                yield both, f"{name}|{text}"


def _first(fields: LogFields, names: tuple[str, ...]) -> str:
    for name in names:
        for text in _all(fields.get(name)):
            return text
    return ""


def _all(value: str | list[str] | None) -> list[str]:
    if not value:
        return []
    return [value] if isinstance(value, str) else value


def _distinct(*texts: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))[:MAX_VALUES]
