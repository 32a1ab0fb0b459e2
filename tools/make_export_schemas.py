"""Cut what the tests of exports need out of the published schemas of OCSF and ECS.

    .inkgate/venv/bin/python tools/make_export_schemas.py OCSF ECS tests/vectors/export

OCSF and ECS are folders with https://github.com/ocsf/ocsf-schema and
https://github.com/elastic/ecs, checked out at a release.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

_EVENTS: Final = (
    "base_event", "findings/finding", "findings/detection_finding", "network/network",
    "network/http_activity",
)  # fmt: skip
_OBJECTS: Final = (
    "object", "_entity", "metadata", "product", "reporter", "finding_info", "analytic",
    "key_value_object", "related_event", "evidences", "network_endpoint", "endpoint",
    "http_request", "observable",
)  # fmt: skip
_PROFILES: Final = ("security_control", "incident")
_WORDS: Final = ("description", "references", "source")
_FIELD: Final = re.compile(
    r"@timestamp|message|labels|tags|(ecs|event|http|observer|related|rule|source)\.[\w.]+"
    r"|threat\.(feed|indicator)\.\w+"
)


def ocsf(folder: Path) -> dict[str, Any]:
    """Classes, objects, profiles and the dictionary, without their descriptions."""
    cut: dict[str, Any] = {
        "version": _read(folder / "version.json")["version"],
        "categories": _read(folder / "categories.json")["attributes"],
        "events": _all(folder / "events", _EVENTS),
        "objects": _all(folder / "objects", _OBJECTS),
        "profiles": _all(folder / "profiles", _PROFILES),
    }
    used = set(_names(cut))
    dictionary = _read(folder / "dictionary.json")
    cut["types"] = dictionary["types"]["attributes"]
    cut["dictionary"] = {n: a for n, a in dictionary["attributes"].items() if n in used}
    return cut


def ecs(folder: Path) -> dict[str, Any]:
    """The fields of some field sets: their types and the values that they may have."""
    fields = yaml.safe_load((folder / "generated/ecs/ecs_flat.yml").read_text())
    return {
        "version": (folder / "version").read_text().strip(),
        "fields": {n: _field(field) for n, field in fields.items() if _FIELD.fullmatch(n)},
    }


def _field(field: dict[str, Any]) -> dict[str, Any]:
    cut = {"type": field["type"], "normalize": field["normalize"]}
    allowed = {
        value["name"]: value.get("expected_event_types")
        for value in field.get("allowed_values", ())
    }
    expected = field.get("expected_values", ())
    return cut | ({"allowed": allowed} if allowed else {}) | (
        {"expected": expected} if expected else {}
    )  # fmt: skip


def _all(folder: Path, names: tuple[str, ...]) -> dict[str, Any]:
    return {Path(name).name: _read(folder / f"{name}.json") for name in names}


def _read(path: Path) -> Any:
    return _without_words(json.loads(path.read_text()))


def _without_words(found: Any) -> Any:
    if isinstance(found, list):
        return [_without_words(part) for part in found]
    if not isinstance(found, dict):
        return found
    # An attribute may be called as a description is: only texts are left out.
    is_word = {name for name in _WORDS if isinstance(found.get(name), str | list)}
    return {name: _without_words(part) for name, part in found.items() if name not in is_word}


def _names(cut: dict[str, Any]) -> Iterator[str]:
    for kind in ("events", "objects", "profiles"):
        for found in cut[kind].values():
            yield from found.get("attributes", ())


def main() -> None:
    """See the module."""
    schema, fields, into = map(Path, sys.argv[1:4])
    into.mkdir(exist_ok=True)
    for name, cut in (("ocsf", ocsf(schema)), ("ecs", ecs(fields))):
        # A line for each class, object and field, so that a change of one is seen.
        parts = (
            f'{json.dumps(key)}: {{\n' + ",\n".join(
                f"{json.dumps(n)}: {json.dumps(v, sort_keys=True)}" for n, v in part.items()
            ) + "\n}" if isinstance(part, dict) else f"{json.dumps(key)}: {json.dumps(part)}"
            for key, part in cut.items()
        )  # fmt: skip
        (into / f"{name}.json").write_text("{\n" + ",\n".join(parts) + "\n}\n")


if __name__ == "__main__":
    main()
