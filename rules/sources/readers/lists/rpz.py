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
_SOA: Final = re.compile(rf"{_BEFORE_TYPE}SOA\b.*", re.IGNORECASE)
_ORIGIN: Final = re.compile(r"\$ORIGIN\s+(\S+)", re.IGNORECASE)
_INCLUDE: Final = re.compile(r"\$INCLUDE\b.*", re.IGNORECASE)
_FRAME: Final = re.compile(
    r"\$TTL\b.*|(?:\S+\s+)?(?:\d+[smhdw]?\s+)?(?:IN\s+)?NS\b.*|[\d\s()smhdw]+", re.IGNORECASE
)
# What stands first in a line that leaves its name out.
_NO_OWNER: Final = re.compile(r"IN|\d+[smhdw]?", re.IGNORECASE)
_TRIGGER: Final = re.compile(
    r"(.*)\.rpz-(ip|client-ip|nsip|nsdname)(?:\.\S*)?", re.IGNORECASE | re.DOTALL
)
_PASS: Final = ("rpz-passthru.", "rpz-tcp-only.")
ABSOLUTE: Final = "a name that is not below a zone whose SOA record stands before it"


class _Zone:
    """The records of a zone, in their order: `$ORIGIN` and SOA count for those below them.

    Names are policy as far as they stand before the name of the zone, its apex. That is where
    the SOA record stands. A name without a dot at its end is relative to `$ORIGIN`, and to the
    zone where none is written.
    """

    def __init__(self) -> None:
        self._origin = ""
        self._apex = ""

    def parse(self, text: str) -> Line | None:
        """What a record says."""
        text = text.partition(";")[0].rstrip()
        if origin := _ORIGIN.fullmatch(text):
            self._origin = self._full(origin[1])
            return REMARK
        if (soa := _SOA.fullmatch(text)) and not _NO_OWNER.fullmatch(soa[1]):
            self._apex = self._full(soa[1])
            return REMARK
        if _INCLUDE.fullmatch(text):
            return refused("the records of another file")
        return self._of_record(text)

    def _of_record(self, text: str) -> Line | None:
        if record := _RECORD.fullmatch(text):
            if _NO_OWNER.fullmatch(record[1]):
                return refused("a record without a name")
            return self._of_rule(self._relative(record[1]), record[2].lower())
        rewritten = _ADDRESS_RECORD.fullmatch(text)
        if rewritten and not rewritten[1].startswith("$"):
            name = self._relative(rewritten[1])
            if name is None or "." in name:
                return _of_name(name)
        return REMARK if _FRAME.fullmatch(text) else None

    def _of_rule(self, name: str | None, target: str) -> Line:
        # A name that stands for itself is the older way to let it pass.
        own = bool(name) and target.rstrip(".") == (name or "").lower().removeprefix("*.")
        return EXCEPTION if own or target in _PASS else _of_name(name)

    def _full(self, name: str) -> str:
        """A name with its origin, with a dot at its end if that is known to the root."""
        if name == "@":
            return self._origin
        if name.endswith(".") or not self._origin:
            return name
        return f"{name}.{self._origin.removeprefix('.')}"

    def _relative(self, name: str) -> str | None:
        """A name as it stands before that of the zone; None if that is not known."""
        full = self._full(name)
        apex = self._apex
        if full.endswith(".") != apex.endswith("."):
            # One of them is relative to the zone.
            return None if full.endswith(".") else full
        if not apex:
            return full
        inside = full.lower().endswith("." + apex.lower().removeprefix("."))
        return full[: -len(apex.removeprefix(".")) - 1] if inside else None


def parse(text: str) -> Line | None:
    """What a record says by itself."""
    return _Zone().parse(text)


def _of_name(name: str | None) -> Line:
    if name is None:
        return refused(ABSOLUTE)
    if not name:
        return refused("a record of the zone itself")
    trigger = _TRIGGER.fullmatch(name)
    if trigger is None:
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


DIALECT: Final = Dialect(
    "rpz", parse, (";",), lambda text: text.upper().startswith(("$TTL", "$ORIGIN")),
    fresh=lambda: _Zone().parse,
)  # fmt: skip
