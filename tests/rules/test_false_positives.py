"""What must never reach a proxy: the allow list, and MISP's warninglists."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from inkgate.config.errors import Unreadable
from inkgate.rules.canonical import canonical_attribute
from inkgate.rules.errors import RefreshError
from inkgate.rules.select.false_positives import AllowList
from inkgate.rules.select.warninglists import Hit, WarningLists, packaged_lists
from support.installation import Installation, attribute

LISTS = {
    "top-sites": ("hostname", ["popular.example", "*.cdn.example"], ["domain", "hostname", "url"]),
    "exact-names": ("string", ["only.example"], ["domain", "hostname", "domain|ip"]),
    "resolvers": ("cidr", ["192.0.2.53", "198.51.100.0/28", "2001:db8:53::/48"], ["ip-dst"]),
    "hashes": ("string", ["d41d8cd98f00b204e9800998ecf8427e"], ["md5", "filename|md5"]),
    "words": ("substring", ["/harmless/"], ["url"]),
    "patterns": ("regex", ["/^tracker[0-9]+\\./i"], ["domain", "hostname"]),
}


def write_lists(folder: Path) -> Path:
    for name, (kind, entries, types) in LISTS.items():
        (folder / name).mkdir(parents=True)
        content = {
            "name": f"List of {name}",
            "type": kind,
            "version": 1,
            "list": entries,
            "matching_attributes": types,
        }
        (folder / name / "list.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def lists(tmp_path: Path) -> WarningLists:
    return WarningLists(write_lists(tmp_path / "lists"), tmp_path / "index")


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("domain", "popular.example", [("top-sites", "is")]),
        ("hostname", "www.popular.example", [("top-sites", "below")]),
        ("domain", "example", [("exact-names", "covers"), ("top-sites", "covers")]),
        ("hostname", "example", []),
        ("domain", "unpopular.example", []),
        ("domain", "a.b.cdn.example", [("top-sites", "below")]),
        ("url", "http://popular.example/", [("top-sites", "is")]),
        ("url", "http://popular.example/evil", [("top-sites", "below")]),
        ("url", "http://x.example/harmless/y", [("words", "is")]),
        ("domain", "sub.only.example", []),
        ("domain|ip", "only.example|192.0.2.1", [("exact-names", "is")]),
        ("ip-dst", "192.0.2.53", [("resolvers", "is")]),
        ("ip-dst", "198.51.100.7", [("resolvers", "is")]),
        ("ip-dst", "198.51.100.0/24", [("resolvers", "is")]),
        ("ip-dst", "198.51.100.16", []),
        ("ip-dst", "2001:db8:53:1::1", [("resolvers", "is")]),
        ("ip-src", "192.0.2.53", []),
        ("md5", "D41D8CD98F00B204E9800998ECF8427E", [("hashes", "is")]),
        ("filename|md5", "a.exe|d41d8cd98f00b204e9800998ecf8427e", [("hashes", "is")]),
        ("hostname", "tracker12.example", [("patterns", "is")]),
        ("hostname", "nottracker12.example", []),
    ],
)
def test_lists_say(
    lists: WarningLists, kind: str, text: str, expected: list[tuple[str, str]]
) -> None:
    hits = lists.search(kind, canonical_attribute(kind, text))
    assert [(hit.name, hit.relation) for hit in hits] == expected


def test_compiled_lists_are_used_again_until_a_list_changes(tmp_path: Path) -> None:
    folder, index = write_lists(tmp_path / "lists"), tmp_path / "index"
    WarningLists(folder, index)
    first = {path.name for path in index.iterdir()}
    WarningLists(folder, index)
    assert {path.name for path in index.iterdir()} == first
    changed = folder / "exact-names" / "list.json"
    changed.write_text(changed.read_text().replace("only.example", "other-name.example"))
    again = WarningLists(folder, index)
    assert not {path.name for path in index.iterdir()} & first
    value = canonical_attribute("domain", "other-name.example")
    assert again.search("domain", value) == [Hit("exact-names", "List of exact-names", "is")]


@pytest.mark.parametrize("suffix", ["keys", "lists"])
def test_cut_off_index_is_compiled_again(tmp_path: Path, suffix: str) -> None:
    folder, index = write_lists(tmp_path / "lists"), tmp_path / "index"
    WarningLists(folder, index)
    (path,) = index.glob(f"*.{suffix}")
    os.truncate(path, path.stat().st_size - 12)
    again = WarningLists(folder, index)
    value = canonical_attribute("domain", "only.example")
    assert again.search("domain", value) == [Hit("exact-names", "List of exact-names", "is")]


def test_damaged_list_is_named(tmp_path: Path) -> None:
    folder = write_lists(tmp_path / "lists")
    (folder / "words" / "list.json").write_text("{")
    with pytest.raises(Unreadable, match=r"words/list\.json.*install the lists again"):
        WarningLists(folder, tmp_path / "index")


@pytest.mark.parametrize(
    ("kind", "text", "allowed"),
    [
        ("domain", "ours.example", True),
        ("hostname", "www.ours.example", True),
        ("url", "http://www.ours.example/x", True),
        ("domain", "example", True),
        ("hostname", "example", False),
        ("domain", "notours.example", False),
        ("domain|ip", "ours.example|203.0.113.1", True),
        ("ip-dst", "192.0.2.7", True),
        ("ip-dst", "192.0.0.0/16", True),
        ("ip-dst", "192.0.3.0", False),
        ("ip-dst|port", "192.0.2.7|443", True),
        ("url", "http://shared.example/fine", True),
        ("url", "https://www.shared.example/fine", True),
        ("url", "http://shared.example/evil", False),
        ("sha256", "ab" * 32, True),
        ("sha256", "cd" * 32, False),
        ("url", "http://192.0.2.1/x", True),
        ("url", "http://www.portal.example/x", True),
        ("url", "http://portal.example/x", True),
        ("domain", "portal.example", True),
        ("hostname", "portal.example", False),
        ("domain", "host.lan", True),
        ("domain", "shared.example", True),
        ("hostname", "shared.example", False),
    ],
)
def test_allow_list_wins_over_what_would_block_it(kind: str, text: str, allowed: bool) -> None:
    entries = [
        canonical_attribute("domain", "ours.example"),
        canonical_attribute("ip-dst", "192.0.2.0/24"),
        canonical_attribute("url", "http://shared.example/fine"),
        canonical_attribute("sha256", "ab" * 32),
        canonical_attribute("domain", "www.portal.example"),
        canonical_attribute("domain", "lan"),
    ]
    assert AllowList(entries).allows(kind, canonical_attribute(kind, text)) == allowed


@pytest.fixture
def listed(installation: Installation) -> Iterator[Installation]:
    write_lists(installation.folder / "lists")
    installation.configure(
        'warninglists_folder = "lists"\nwarninglists = { top-sites = "drop", words = "off" }'
    )
    installation.add(
        "mixed",
        attribute("domain", "popular.example"),
        attribute("hostname", "phish.popular.example"),
        attribute("domain", "only.example"),
        attribute("url", "http://x.example/harmless/y"),
        attribute("domain", "bad.example"),
    )
    return installation


def domains(installation: Installation) -> set[str]:
    matcher = installation.matcher()
    names = ("popular.example", "only.example", "bad.example")
    found = {n for n in names if matcher.look_up("domain", "name", n.encode())}
    matcher.generation.close()
    return found


@pytest.mark.slow
def test_report_names_what_was_dropped_and_marked(listed: Installation) -> None:
    done = listed.run("inkgate-rules", "refresh")
    assert done.returncode == 0, done.stderr
    assert "dropped  1 (" in done.stdout
    assert "marked  2 (" in done.stdout
    assert "dropped: 1 (List of top-sites): domain" in done.stderr
    rows = (listed.places.publisher / "last-refresh.tsv").read_text().splitlines()
    assert rows[0].split("\t") == ["outcome", "place", "type", "reason"]
    assert sorted(row.split("\t")[0] for row in rows[1:]) == ["dropped", "marked", "marked"]
    assert "example" not in "".join(rows)
    assert domains(listed) == {"only.example", "bad.example"}


@pytest.mark.slow
def test_marked_rule_says_so_in_its_message(listed: Installation) -> None:
    listed.refresh()
    done = listed.run("inkgate-rules", "match", "--json", "domain=only.example")
    (told,) = json.loads(done.stdout)["message"]["attributes"]
    assert told["warninglist"] == "List of exact-names"


def test_a_list_changed_to_drop_removes_at_the_next_refresh(listed: Installation) -> None:
    listed.refresh()
    listed.configure('warninglists = { default = "drop" }')
    summary = listed.refresh()
    assert summary.report.total("dropped") == 3
    assert domains(listed) == {"bad.example"}


def test_allow_list_file_removes_rules_and_says_so(listed: Installation) -> None:
    (listed.folder / "allowed.txt").write_text("# ours\nbad.example\n")
    listed.configure('allow = ["allowed.txt"]')
    summary = listed.refresh()
    assert summary.report.total("allowed") == 1
    assert "bad.example" not in domains(listed)


def test_missing_allow_list_changes_nothing(listed: Installation) -> None:
    listed.refresh()
    listed.configure('allow = ["missing.txt"]')
    with pytest.raises(Unreadable, match=r"missing\.txt"):
        listed.refresh()
    assert domains(listed) == {"only.example", "bad.example"}


def test_unknown_list_is_an_error(listed: Installation) -> None:
    listed.configure('warninglists = { no-such-list = "off" }')
    with pytest.raises(RefreshError, match="no-such-list"):
        listed.refresh()


@pytest.mark.slow
def test_default_settings_drop_a_top_site_and_keep_what_somebody_rents_below_it(
    installation: Installation, tmp_path: Path
) -> None:
    """With the lists that come with the package, as most people will have it."""
    lists = packaged_lists()
    assert lists is not None
    top = json.loads((lists / "tranco10k" / "list.json").read_text())["list"][100]
    installation.configure("warninglists = {}")
    installation.add(
        "top",
        attribute("domain", top),
        attribute("url", f"http://{top}/~somebody/evil"),
        attribute("domain", "bad.example"),
    )
    summary = installation.refresh()
    assert summary.report.total("dropped") == 1
    assert summary.report.total("marked") >= 1
    assert summary.rules - summary.canaries == 2
