"""What the real matcher looks up of a request, without a rule set: by what it asks a set for."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from inkgate.rules.canonical.classes import CLASSES
from inkgate.rules.crypto.derive import derive_set_key, rule_info, rule_keys, token_check
from inkgate.rules.crypto.profiles import Hkdf
from inkgate.rules.install.generation import Generation
from inkgate.rules.lookup.matcher import Matcher
from inkgate.rules.lookup.observed import Observed
from inkgate.rules.lookup.replies import digest_steps, filename_steps, reply_classes
from inkgate.rules.lookup.steps import Stretch, finish
from inkgate.rules.lookup.verdicts import examine
from inkgate.rules.pack.manifest import Manifest, RuleFile

TOKEN = bytes(16)
SALT = bytes(32)

Found = set[tuple[str, str, tuple[str, ...]]]
"""Class, kind and canonical parts."""

Passing = Mapping[str, Sequence[Sequence[str]]]
"""For each level of gates the values that pass, as kind and value."""


class AskedSet:
    """Stands for an installed set of all classes, and keeps what it is asked for.

    Attributes:
        found: what was looked up.
    """

    def __init__(self, prefixes: Mapping[str, Sequence[int]], gates: Passing | None) -> None:
        self.manifest = manifest(prefixes)
        self.found: Found = set()
        self._gates = gates
        self._values: dict[bytes, tuple[str, bytes]] = {}
        self._tags: dict[bytes, bytes] = {}

    def stretching(self, stretch: Stretch) -> Stretch:
        """The derivation, which keeps of what each stretched value was made."""

        def stretched(kind: str, data: bytes) -> bytes:
            made = stretch(kind, data)
            if made not in self._values:
                self._values[made] = kind, data
                self._tags |= {rule_keys(made, rule_info(name))[0]: made for name in CLASSES}
            return made

        return stretched

    def gate_passes(self, level: str, stretched: bytes) -> bool:
        """Whether a value is one of those that pass; a level without a gate lets all pass."""
        kind, data = self._values[stretched]
        passing = (self._gates or {}).get(level)
        return passing is None or [kind, data.decode()] in passing

    def find(self, name: str, tag: bytes) -> None:
        """No rule is there, but it was looked for."""
        kind, data = self._values[self._tags[tag]]
        self.found.add((name, kind, parts_of(name, data)))


def parts_of(name: str, data: bytes) -> tuple[str, ...]:
    """The canonical parts of a class's value."""
    if len(CLASSES[name].forms) == 1:
        return (data.decode(),)
    parts = []
    while data:
        end = 4 + int.from_bytes(data[:4])
        parts.append(data[4:end].decode())
        data = data[end:]
    return tuple(parts)


def manifest(prefixes: Mapping[str, Sequence[int]]) -> Manifest:
    """Of a set that has all classes of the table, and prefixes."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return Manifest(
        format=1,
        set_id="00" * 16,
        set_salt=base64.b64encode(SALT).decode(),
        token_check=base64.b64encode(token_check(derive_set_key(TOKEN, SALT))).decode(),
        subscriber="vectors",
        serial=1,
        created=moment,
        expires=moment,
        profiles=dict.fromkeys(("name", "ip", "url", "digest", "text"), Hkdf()),
        epsilon=1,
        prefixes={version: tuple(lengths) for version, lengths in prefixes.items()},
        classes=dict.fromkeys(CLASSES, RuleFile(1, 1, "00" * 32)),
        gates={},
        networks_gated=True,
        pairs_gated=True,
    )


def looked_up(
    request: Mapping[str, Any], prefixes: Mapping[str, Sequence[int]], gates: Passing | None
) -> Found:
    """All that is looked up of a request or a reply, as docs/format.md, section 9, writes it."""
    asked = AskedSet(prefixes, gates)
    matcher = Matcher(cast(Generation, asked), TOKEN, asked.stretching)
    if "body" in request:
        _look_up_reply(request, matcher)
    else:
        examine(
            Observed(
                request["method"],
                request["uri"],
                request.get("server", ""),
                request.get("user_agent", ""),
                request.get("server_port"),
            ),
            matcher,
        )
    return asked.found


def _look_up_reply(reply: Mapping[str, Any], matcher: Matcher) -> None:
    classes = reply_classes(matcher)
    body = bytes.fromhex(reply["body"])
    digests = {name: hashlib.new(name, body).hexdigest() for name in classes.algorithms}
    finish(digest_steps(digests, reply["file_names"], classes, matcher, []), matcher.stretch)
    finish(filename_steps(reply["file_names"], matcher, []), matcher.stretch)
