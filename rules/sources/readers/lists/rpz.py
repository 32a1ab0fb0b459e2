"""Response policy zones: names and addresses that a resolver denies (draft-vixie-dnsop-dns-rpz)."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from inkgate.rules.sources.readers.lists.dialect import (
    EXCEPTION,
    REMARK,
    Dialect,
    Line,
    listed,
    refused,
)

_BEFORE_TYPE: Final = r"(\S+)\s+(?:\d+[smhdw]?\s+)?(?:IN\s+)?(?:\d+[smhdw]?\s+)?"
_RECORD: Final = re.compile(rf"{_BEFORE_TYPE}CNAME\s+(\S+)", re.IGNORECASE)
_ADDRESS_RECORD: Final = re.compile(rf"{_BEFORE_TYPE}(?:A|AAAA|TXT)\s+\S.*", re.IGNORECASE)
_FRAME: Final = re.compile(
    r"\$(?:TTL|ORIGIN|INCLUDE)\b.*|(?:\S+\s+)?(?:\d+[smhdw]?\s+)?(?:IN\s+)?(?:SOA|NS)\b.*"
    r"|[\d\s()smhdw]+",
    re.IGNORECASE,
)
_TRIGGER: Final = re.compile(
    r"(.*)\.rpz-(ip|client-ip|nsip|nsdname)(?:\.\S*)?", re.IGNORECASE | re.DOTALL
)
_PASS: Final = ("rpz-passthru.", "rpz-tcp-only.")


def parse(text: str) -> Line | None:
    """What a record says."""
    text = text.partition(";")[0].rstrip()
    record = _RECORD.fullmatch(text)
    if record is None:
        rewritten = _ADDRESS_RECORD.fullmatch(text)
        if rewritten and "." in rewritten[1] and not rewritten[1].startswith("$"):
            return _owner(rewritten[1])
        return REMARK if _FRAME.fullmatch(text) else None
    owner, target = record[1].lower(), record[2].lower()
    # A name that stands for itself is the older way to let it pass.
    if target in _PASS or target.rstrip(".") == owner.removeprefix("*.").rstrip("."):
        return EXCEPTION
    return _owner(record[1])


def _owner(owner: str) -> Line:
    trigger = _TRIGGER.fullmatch(owner)
    if trigger is None:
        if owner.endswith("."):
            # The name of the zone is part of it, and a line alone does not tell where it begins.
            return refused("an absolute name: write the zone with names relative to it")
        name = owner
        return listed("domain", name[2:]) if name.startswith("*.") else listed("hostname", name)
    kind = trigger[2].lower()
    if kind == "ip":
        network = _network(trigger[1])
        return listed("ip-dst", network) if network else refused("no address of a response policy")
    if kind == "client-ip":
        return refused("a client of a resolver")
    return refused("a name server, which no request shows")


def _network(labels: str) -> str:
    length, *parts = labels.split(".")
    parts.reverse()
    if len(parts) == 4 and "zz" not in labels.lower():
        text = ".".join(parts)
    else:
        text = ":".join(parts)
        text = re.sub(r"(?:^|:)zz(?::|$)", "::", text, flags=re.IGNORECASE)
    try:
        return str(ipaddress.ip_network(f"{text}/{length}", strict=False))
    except ValueError:
        return ""


DIALECT: Final = Dialect("rpz", parse, (";",), lambda text: text.upper().startswith("$TTL"))
