"""Dummy rules: nothing that a thief has tells them from rules."""

from __future__ import annotations

import base64
from collections import Counter
from pathlib import Path

import pytest

from inkgate.rules.canonical import Host
from inkgate.rules.crypto.gates import Gate, gate_bits
from inkgate.rules.crypto.sealing import Rule
from inkgate.rules.install.install import open_current
from inkgate.rules.pack.files import read_gate, read_rules, rule_path
from inkgate.rules.pack.manifest import Manifest
from support.canary_proxy import canaries_of
from support.installation import Installation, attribute


def pack_of(installation: Installation) -> Path:
    return (installation.places.publisher / "pack").resolve()


def rows(installation: Installation, name: str = "domain") -> dict[bytes, Rule]:
    return {rule.tag: rule for rule in read_rules(rule_path(pack_of(installation), name))}


def manifest_of(installation: Installation) -> Manifest:
    return open_current(installation.places.installed, installation.settings.caps).manifest


def fill(installation: Installation, count: int, name: str = "many") -> None:
    installation.add(
        name,
        *(attribute("domain", f"host{n}.example", comment="c" * (n % 300)) for n in range(count)),
        attribute("url", "http://files.example/bad"),
    )


def test_every_class_is_filled_to_a_multiple(installation: Installation) -> None:
    installation.configure("pad = 64")
    fill(installation, 100)
    installation.refresh()
    manifest = open_current(installation.places.installed, installation.settings.caps).manifest
    assert {name: file.rules for name, file in manifest.classes.items()} == {
        "domain": 128,
        "url": 64,
        "ip-dst|port": 64,
    }


@pytest.mark.slow
def test_everything_is_still_found_and_nothing_else(installation: Installation) -> None:
    installation.configure("pad = 256")
    fill(installation, 100)
    installation.refresh()
    matcher = installation.matcher()
    found = [
        n for n in range(300) if matcher.look_up("domain", "name", f"host{n}.example".encode())
    ]
    assert found == list(range(100))


def test_dummies_have_the_lengths_that_rules_have(installation: Installation) -> None:
    """Chi-square over the three lengths: above 27.6 once in a million."""
    installation.configure('message = ["uuid", "comment"]')
    fill(installation, 400)
    installation.refresh()
    real = rows(installation)
    installation.configure("pad = 800")
    installation.refresh()
    dummies = {tag: rule for tag, rule in rows(installation).items() if tag not in real}
    # The canary is the 401st rule.
    assert len(dummies) == 399
    ours = Counter(len(rule.ciphertext) for rule in real.values())
    theirs = Counter(len(rule.ciphertext) for rule in dummies.values())
    assert len(ours) == 3
    assert theirs.keys() <= ours.keys()
    assert sum((theirs[size] - n) ** 2 / n for size, n in ours.items()) < 27.6


def test_dummies_do_not_look_like_canaries_which_would_tell_how_many_rules_there_are(
    installation: Installation,
) -> None:
    """One rule of a class is the canary: dummies of its length would be as rare as one in them."""
    installation.configure("pad = 2048")
    installation.add(
        "many", *(attribute("domain", f"host{n}.example", comment="c" * 200) for n in range(20))
    )
    installation.configure('message = ["uuid", "comment"]\npad = 2048')
    installation.refresh()
    lengths = Counter(len(rule.ciphertext) for rule in rows(installation).values())
    (canary,) = installation.matcher().host(Host("name", canaries_of(installation).name)).matches
    assert canary.message.is_canary
    assert sorted(lengths.values()) == [1, 2047]
    # So would the gate of URLs' hosts, which holds the one canary and no listed URL.
    bits = manifest_of(installation).gates["url-host"].bits
    gate = Gate(read_gate(pack_of(installation) / "gates" / "url-host.b64", bits))
    assert sum(gate.passes(n) for n in range(bits)) == 1


def test_gate_of_hosts_is_as_full_as_if_dummies_were_rules(installation: Installation) -> None:
    installation.configure("pad = 1024")
    installation.add("urls", *(attribute("url", f"http://h{n}.example/x") for n in range(30)))
    installation.refresh()
    bits = manifest_of(installation).gates["url-host"].bits
    # 3,072 rules of which 30 of 34 are URLs; the canaries among them are known to be four.
    assert bits >= gate_bits(3000, 1 / 16)


def test_dummies_stay_the_same_from_refresh_to_refresh(installation: Installation) -> None:
    """Otherwise two packs of one epoch, side by side, would tell them."""
    installation.configure("pad = 128")
    fill(installation, 50)
    installation.refresh()
    before = rows(installation)
    installation.add("one-more", attribute("domain", "one-more.example"))
    installation.refresh()
    after = rows(installation)
    # One dummy makes room for the new rule.
    assert len(before) == len(after) == 128
    assert len(before.keys() - after.keys()) == len(after.keys() - before.keys()) == 1
    assert sum(before[tag] != after[tag] for tag in before.keys() & after.keys()) == 0


def test_another_epoch_has_other_dummies(installation: Installation) -> None:
    installation.configure("pad = 128")
    fill(installation, 5)
    installation.refresh()
    before = rows(installation)
    installation.refresh(new_epoch=True)
    assert not before.keys() & rows(installation).keys()


def test_gates_are_as_full_as_if_dummies_were_rules(installation: Installation) -> None:
    installation.configure("pad = 1024")
    fill(installation, 100)
    installation.refresh()
    manifest = open_current(installation.places.installed, installation.settings.caps).manifest
    bits = manifest.gates["suffix"].bits
    bitmap = read_gate(pack_of(installation) / "gates" / "suffix.b64", bits)
    gate = Gate(bitmap)
    # 101 values of 101 rules, so 2048 values with the dummies of both classes.
    assert bits >= gate_bits(2000, 1 / 16)
    filled = sum(gate.passes(n) for n in range(bits)) / bits
    assert 0.04 < filled < 0.08


def test_dummies_cannot_be_told_by_their_bytes(installation: Installation) -> None:
    """In every column each byte is as likely as any other."""
    installation.configure("pad = 2048")
    installation.add("one", attribute("domain", "one.example"))
    installation.refresh()
    for column in (0, 1, 2):
        data = b"".join(rule[column] for rule in rows(installation).values())
        expected = len(data) / 256
        counts = Counter(data)
        chi = sum((counts[byte] - expected) ** 2 / expected for byte in range(256))
        # 255 degrees of freedom: above 377 once in a million.
        assert chi < 377
    text = rule_path(pack_of(installation), "domain").read_bytes()
    assert {len(base64.b64decode(line.split(b"\t")[0])) for line in text.splitlines()} == {32}
