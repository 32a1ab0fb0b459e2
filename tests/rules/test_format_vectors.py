"""The vectors of docs/format.md, sections 2, 5 and 7: each by the code, and one for each rule.

A program that knows nothing of inkgate can read them: they hold what somebody wrote or asked
for, and what comes of it.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from inkgate.rules.canonical import Refused, canonical_attribute, observed_authority, observed_url
from inkgate.rules.canonical.fields import length_prefixed
from inkgate.rules.crypto.derive import gate_info, gate_number
from inkgate.rules.crypto.gates import LEVELS, Gate, build_gate, gate_bits
from inkgate.rules.seal.gate_values import gate_values_by_level, level_of
from inkgate.rules.select.indicators import make_record
from inkgate.rules.select.network_lengths import gated_lengths
from support.looked_up import looked_up

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors"
FORMAT = (ROOT / "docs" / "format.md").read_text()
FOLDERS = ("canonical", "refused", "hosts", "readings", "lookups", "gates")

# So many the format promises at least: fewer of them would be an accident.
LEAST = {"canonical": 150, "refused": 40, "hosts": 10, "readings": 30, "lookups": 30, "gates": 20}


def load(folder: str, member: str = "rules") -> list[Any]:
    """The vectors of a folder that have a member."""
    found = [
        pytest.param(vector, id=f"{path.stem}-{number}")
        for path in sorted((VECTORS / folder).glob("*.json"))
        for number, vector in enumerate(json.loads(path.read_text()))
        if member in vector
    ]
    assert found
    return found


@pytest.mark.parametrize("vector", load("canonical"))
def test_canonical_value(vector: dict[str, Any]) -> None:
    value = canonical_attribute(vector["class"], vector["text"])
    assert (value.kind, list(value.parts)) == (vector["kind"], vector["parts"])
    assert value.data.hex() == vector["canonical"]
    parts = [part.encode() for part in vector["parts"]]
    assert value.data == (parts[0] if len(parts) == 1 else length_prefixed(*parts))
    again = canonical_attribute(vector["class"], "|".join(vector["parts"]))
    assert again == value


@pytest.mark.parametrize("vector", load("refused"))
def test_value_without_a_canonical_form(vector: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refused:
        canonical_attribute(vector["class"], vector["text"])
    assert refused.value.reason == vector["reason"]


@pytest.mark.parametrize("vector", load("hosts"))
def test_observed_host(vector: dict[str, Any]) -> None:
    try:
        (host, _, _), whole = observed_authority(f"http://{vector['host']}/")
    except Refused:
        assert vector["value"] is None
        return
    assert (host.kind, host.value, whole) == (vector["kind"], vector["value"], vector["whole"])


@pytest.mark.parametrize("vector", load("readings"))
def test_readings_of_an_observed_url(vector: dict[str, Any]) -> None:
    try:
        found = list(observed_url(vector["url"]))
    except Refused:
        found = []
    assert found == vector["values"]


@pytest.mark.parametrize("vector", load("lookups"))
def test_what_is_looked_up_of_a_request(vector: dict[str, Any]) -> None:
    expected = {(name, kind, tuple(parts)) for name, kind, parts in vector["looked_up"]}
    assert looked_up(vector["request"], vector["prefixes"], vector["gates"]) == expected


@pytest.mark.parametrize("vector", load("gates", "epsilon"))
def test_size_of_a_gate(vector: dict[str, Any]) -> None:
    assert gate_bits(vector["values"], vector["epsilon"]) == vector["bits"]


@pytest.mark.parametrize("vector", load("gates", "index"))
def test_bit_of_a_value(vector: dict[str, Any]) -> None:
    number = gate_number(bytes.fromhex(vector["stretched"]), gate_info(vector["level"]))
    assert number == vector["number"]
    assert number % vector["bits"] == vector["index"]


@pytest.mark.parametrize("vector", load("gates", "bitmap"))
def test_bitmap_of_a_gate(vector: dict[str, Any]) -> None:
    bitmap = bytes.fromhex(vector["bitmap"])
    assert len(bitmap) * 8 == vector["bits"]
    gate = Gate(bitmap)
    assert all(gate.passes(number) for number in (*vector["numbers"], *vector["pass"]))
    assert not any(gate.passes(number) for number in vector["stop"])
    if vector["bits"].bit_count() == 1:
        # As a publisher makes it, for so many values that this is its size.
        values = vector["bits"] // 16
        assert build_gate(vector["numbers"], values, 1 / 16) == bitmap


@pytest.mark.parametrize("vector", load("gates", "suffix"))
def test_values_that_set_bits(vector: dict[str, Any]) -> None:
    value = canonical_attribute(vector["class"], vector["text"])
    record = make_record(vector["class"], value, "block", 0, {})
    gated = gated_lengths({v: tuple(lengths) for v, lengths in vector["prefixes"].items()})
    found: dict[str, set[tuple[str, str]]] = {level: set() for level in LEVELS}
    for level, values in gate_values_by_level([record], gated).items():
        found[level_of(level)] |= {(kind, data.decode()) for kind, data in values}
    assert found == {level: set(map(tuple, vector[level])) for level in LEVELS}


def rules_of(section: str) -> set[str]:
    """The numbers of the rules that the page has, in bold at the beginning of a line."""
    return set(re.findall(rf"^\*\*({section}[0-9.]*[0-9])\*\*", FORMAT, re.MULTILINE))


def shown_rules() -> set[str]:
    return {
        rule
        for folder in FOLDERS
        for parameters in load(folder)
        for rule in parameters.values[0]["rules"]  # type: ignore[union-attr, index, call-overload]
    }


def test_every_rule_has_a_vector() -> None:
    rules = rules_of(r"2\.") | rules_of(r"5\.") | rules_of(r"7\.")
    assert len(rules) > 70
    assert rules - shown_rules() == set()


def test_no_vector_shows_a_rule_that_the_page_does_not_have() -> None:
    assert shown_rules() - rules_of(r"[257]\.") == set()


@pytest.mark.parametrize("folder", FOLDERS)
def test_there_are_as_many_vectors_as_promised(folder: str) -> None:
    assert len(load(folder)) >= LEAST[folder]


def test_digests_of_the_vectors_are_those_of_their_bodies() -> None:
    """What a vector says of a body is not what our code made of it."""
    for parameters in load("lookups"):
        vector: Any = parameters.values[0]
        if body := vector["request"].get("body"):
            found = {parts[-1] for name, _, parts in vector["looked_up"] if name == "sha256"}
            assert found == {hashlib.sha256(bytes.fromhex(body)).hexdigest()}


def test_vectors_hold_reserved_names_and_addresses_only() -> None:
    text = "".join(
        path.read_text() for folder in FOLDERS for path in (VECTORS / folder).glob("*.json")
    )
    names = re.findall(r"\b[a-z0-9-]+\.(?:com|net|org|de|info|ru|cn)\b", text)
    assert names == []
