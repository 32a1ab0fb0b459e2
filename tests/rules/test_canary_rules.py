"""Every set that is made here holds its subscriber's canaries, and nothing else changes by it."""

from __future__ import annotations

import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from inkgate.rules.canonical import ObservedAt, classes_at
from inkgate.rules.crypto.canaries import Canaries, canaries
from inkgate.rules.crypto.keys import make_token, read_public_key, read_token
from inkgate.rules.crypto.message import encode_message
from inkgate.rules.errors import PackError, RefreshError
from inkgate.rules.install.install import install_pack, open_current, verify_pack
from inkgate.rules.lookup.canary_rules import HeldCanaries, held_canaries, installed_canaries
from inkgate.rules.lookup.matcher import Match, Matcher
from inkgate.rules.lookup.observed import Observed
from inkgate.rules.lookup.replies import digest_steps, reply_classes
from inkgate.rules.lookup.steps import finish
from inkgate.rules.lookup.verdicts import examine
from inkgate.rules.select.canary_records import canary_records
from support.installation import Installation, attribute

ALL_BUT_DIGEST = HeldCanaries(name=True, url=True, reply=True, digest=False)
ALL = ALL_BUT_DIGEST._replace(digest=True)
NONE = HeldCanaries(name=False, url=False, reply=False, digest=False)


@pytest.fixture
def listed(installation: Installation) -> Installation:
    installation.add("listed", attribute("domain", "listed.example"))
    installation.refresh()
    return installation


def own(installation: Installation) -> Canaries:
    return canaries(read_token(installation.places.token_file))


def matches(
    installation: Installation, uri: str, server: str = "", method: str = "GET"
) -> list[Match]:
    return list(examine(Observed(method, uri, server), installation.matcher()).matches)


def test_set_holds_name_url_and_reply_address_and_they_block(listed: Installation) -> None:
    mine = own(listed)
    assert installed_canaries(listed.config) == ALL_BUT_DIGEST
    asked = {
        "domain": [matches(listed, f"http://{mine.name}/"),
                   matches(listed, f"{mine.name}:443", method="CONNECT")],
        "url": [matches(listed, mine.url)],
        "ip-dst|port": [
            matches(listed, f"http://localhost:{mine.reply_port}/", "127.0.0.1"),
            matches(listed, f"http://localhost:{mine.reply_port}/", "::1"),
        ],
    }  # fmt: skip
    for name, answers in asked.items():
        for (match,) in answers:
            assert match.indicator_class == name
            assert match.message.is_canary
            assert match.message.action == "block"
            assert match.message.recorded_action == "canary"
            assert match.message.uuids() == match.message.event_ids() == ()


def test_neighbours_pass(listed: Installation) -> None:
    mine = own(listed)
    host = mine.url.split("/")[2]
    passing = [
        matches(listed, f"http://{mine.neighbour}/"),
        matches(listed, mine.neighbour_url),
        matches(listed, f"{host}:443", method="CONNECT"),
        matches(listed, "http://localhost:80/", "127.0.0.1"),
        matches(listed, f"http://localhost:{mine.reply_port}/", "127.0.0.2"),
    ]
    assert passing == [[]] * len(passing)


def test_set_without_digests_stays_without_and_bodies_pass_unread(listed: Installation) -> None:
    assert not reply_classes(listed.matcher()).any


@pytest.mark.parametrize(
    ("kinds", "sealed_as"),
    [
        (["md5"], "md5"),
        (["md5", "sha256"], "sha256"),
        (["sha512", "sha1"], "sha1"),
        (["filename|sha512/224"], "sha512/224"),
        (["malware-sample"], "md5"),
        (["filename|sha256", "md5"], "sha256"),
    ],
)
def test_digest_is_one_that_proxies_compute_anyway(
    installation: Installation, kinds: list[str], sealed_as: str
) -> None:
    installation.add("digests", *(attribute(kind, digest_value(kind)) for kind in kinds))
    installation.refresh()
    assert installed_canaries(installation.config) == ALL
    matcher = installation.matcher()
    classes = reply_classes(matcher)
    body = own(installation).body
    digests = {name: hashlib.new(name, body).hexdigest() for name in classes.algorithms}
    # What is computed for each body is what the listed classes need, and no more.
    assert len(digests) == len(kinds)
    found: list[Match] = []
    finish(digest_steps(digests, ["index.html"], classes, matcher, found), matcher.stretch)
    (match,) = found
    assert (match.indicator_class, match.message.is_canary) == (sealed_as, True)


def digest_value(kind: str) -> str:
    lengths = {"md5": 32, "malware-sample": 32, "sha1": 40, "sha512/224": 56, "sha512": 128}
    value = "ab" * (lengths.get(kind.removeprefix("filename|"), 64) // 2)
    return f"setup.exe|{value}" if kind.startswith(("filename|", "malware")) else value


@pytest.mark.parametrize("kind", classes_at(ObservedAt.BODY, ObservedAt.FILE_NAME_WITH_BODY))
def test_every_class_of_bodies_brings_a_digest_canary(kind: str) -> None:
    records = canary_records(canaries(b"x" * 16), {kind})
    assert [r.kind for r in records] == ["name", "url", "ip", "ip", "digest"]


@pytest.mark.parametrize("kind", ["filename", "imphash", "ssdeep", "x509-fingerprint-sha256"])
def test_classes_that_no_body_is_hashed_for_bring_none(kind: str) -> None:
    assert len(canary_records(canaries(b"x" * 16), {kind})) == 4


def test_neither_selection_nor_allow_list_nor_warninglist_takes_them_out(
    installation: Installation,
) -> None:
    mine = own(installation)
    (installation.folder / "allow.txt").write_text(
        f"{mine.name}\ninvalid\n127.0.0.0/8\n::1\n{mine.url}\n"
    )
    lists = installation.folder / "lists" / "private"
    lists.mkdir(parents=True)
    (lists / "list.json").write_text(
        json.dumps(
            {
                "name": "private", "version": 1, "description": "made up", "type": "cidr",
                "matching_attributes": ["ip-dst", "ip-dst|port"],
                "list": ["127.0.0.0/8", "::1/128"],
            }
        )
    )  # fmt: skip
    installation.configure(
        'allow = ["allow.txt"]\nwarninglists = { default = "drop" }\n'
        'warninglists_folder = "lists"\naction = "log"\nmax_age_days = { "*" = 1 }\nmessage = []'
    )
    with installation.config.open("a") as file:
        file.write('[rules.select]\ntypes = ["hostname"]\n')
    installation.add(
        "one", attribute("hostname", "one.example", timestamp="4000000000"),
        attribute("ip-dst|port", f"127.0.0.1|{mine.reply_port}", timestamp="4000000000"),
    )  # fmt: skip
    installation.refresh()
    assert installed_canaries(installation.config) == ALL_BUT_DIGEST
    assert [m.message.action for m in matches(installation, mine.url)] == ["block"]


def test_refresh_counts_them_and_the_next_one_has_nothing_to_do(
    installation: Installation,
) -> None:
    installation.add("one", attribute("domain", "one.example"), attribute("md5", "ab" * 16))
    first = installation.refresh()
    assert (first.rules, first.canaries, first.done.new) == (7, 5, 7)
    again = installation.refresh()
    assert not again.published
    assert again.done == (0, 0, 0, 0)
    done = installation.run("inkgate-rules", "refresh")
    assert "rules  7 (5 of them canaries)\n" in done.stdout


def test_next_epoch_has_the_same_canaries(listed: Installation) -> None:
    mine = own(listed)
    listed.refresh(new_epoch=True)
    assert own(listed) == mine
    assert installed_canaries(listed.config) == ALL_BUT_DIGEST


def test_set_that_lists_nothing_holds_them_but_is_still_refused(
    installation: Installation,
) -> None:
    with pytest.raises(RefreshError, match="allow-empty"):
        installation.refresh()
    summary = installation.refresh(allow_empty=True)
    assert summary.rules == summary.canaries == 4
    assert installed_canaries(installation.config) == ALL_BUT_DIGEST


def test_another_subscriber_gets_the_canaries_of_his_own_token(listed: Installation) -> None:
    make_token(listed.folder / "branch.token")
    with listed.config.open("a") as file:
        file.write('[rules.subscribers.branch]\ntoken_file = "branch.token"\n')
    pack = listed.refresh(subscriber="branch").pack
    token = read_token(listed.folder / "branch.token")
    theirs = installed(listed, pack, token)
    assert held_canaries(theirs, canaries(token)) == ALL_BUT_DIGEST
    assert held_canaries(theirs, own(listed)) == NONE
    assert held_canaries(listed.matcher(), canaries(token)) == NONE


def installed(installation: Installation, pack: Path, token: bytes) -> Matcher:
    manifest = verify_pack(
        pack,
        key=read_public_key(installation.places.public_key_file),
        caps=installation.settings.caps,
        token=token,
        now=datetime.now(UTC),
        installed=lambda: None,
    )
    root = installation.folder / "elsewhere"
    install_pack(pack, manifest, root, read_public_key(installation.places.public_key_file))
    return Matcher(open_current(root, installation.settings.caps), token)


def test_canary_that_somebody_lists_is_an_indicator_and_is_reported(
    installation: Installation,
) -> None:
    mine = own(installation)
    listed = attribute("ip-dst|port", f"127.0.0.1|{mine.reply_port}")
    installation.add("odd", listed)
    installation.refresh()
    for address, uuids in (("127.0.0.1", (listed["uuid"],)), ("::1", ())):
        (match,) = matches(installation, f"http://localhost:{mine.reply_port}/", address)
        assert match.message.uuids() == uuids
        assert len(match.message.attributes) == 1
        assert match.message.is_canary == (not uuids)


def test_there_is_no_set_to_ask(installation: Installation) -> None:
    with pytest.raises(PackError):
        installed_canaries(installation.config)


def test_no_token_and_no_canary_is_in_the_pack_or_the_publishers_folder(
    listed: Installation,
) -> None:
    """The spool held them in clear; it is gone."""
    mine = own(listed)
    parts = (mine.name[13:45], mine.url[19:51], mine.body[15:47].decode())
    secrets = [text.encode() for text in parts] + [read_token(listed.places.token_file)]
    for root in (listed.places.publisher, listed.places.installed):
        for folder, _, names in os.walk(root):
            for name in names:
                data = (Path(folder) / name).read_bytes()
                assert not [secret for secret in secrets if secret in data], name


class MessageOf010(msgspec.Struct, frozen=True):
    """A rule's message as version 0.1.0 reads it."""

    action: Literal["block", "log"]
    attributes: Annotated[tuple[dict[str, str], ...], msgspec.Meta(min_length=1)]
    more: int = 0
    expires: int | msgspec.UnsetType = msgspec.UNSET


def test_older_version_blocks_a_canary_and_has_nothing_to_report(listed: Installation) -> None:
    (match,) = matches(listed, own(listed).url)
    padded = encode_message("canary", list(match.message.attributes))
    size = int.from_bytes(padded[:4])
    old = msgspec.json.decode(padded[4 : 4 + size], type=MessageOf010)
    assert old.action == "block"
    assert not any("uuid" in a or "event_id" in a for a in old.attributes)
    assert old.expires is msgspec.UNSET
