"""What a source listed stays blocked while it is gone, damaged or not what it was."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from inkgate.config.errors import Unreadable
from inkgate.rules.refresh.refresh import Summary
from inkgate.rules.sources.files import Files
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.readers.registry import read_file
from support.installation import Installation, attribute

LONG_AGO = 1_700_000_000


def listed(installation: Installation, *names: str) -> list[str]:
    """Those of some names that the rules have."""
    matcher = installation.matcher()
    try:
        return [n for n in names if matcher.look_up("domain", "name", n.encode()) is not None]
    finally:
        matcher.generation.close()


def faults_of(summary: Summary) -> list[str]:
    return [f"{fault.path.name}: {fault.problem}" for fault in summary.unreadable]


NAMES = tuple(f"{letter}{n}.example" for n in (1, 2, 3) for letter in "ab")


@pytest.fixture
def three(installation: Installation) -> Installation:
    """Three lists in a folder, and one elsewhere."""
    for n in (1, 2, 3):
        (installation.events / f"list{n}.txt").write_text(f"a{n}.example\nb{n}.example\n")
    (installation.folder / "other.txt").write_text("other.example\n")
    installation.configure('sources = ["events", "other.txt"]')
    assert not installation.refresh().unreadable
    return installation


def emptied(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def emptied_but_one(folder: Path) -> None:
    for path in sorted(folder.iterdir())[1:]:
        path.unlink()


def removed(folder: Path) -> None:
    shutil.rmtree(folder)


def linked_to_nowhere(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to(folder / "events")


LOST: dict[Callable[[Path], None], str] = {
    emptied: "events: had 3 files and has 0",
    emptied_but_one: "events: had 3 files and has 1",
    removed: "events: does not exist",
    linked_to_nowhere: "events: Too many levels of symbolic links",
}


@pytest.mark.parametrize("lose", LOST)
def test_folder_that_has_suddenly_lost_most_of_its_files_is_doubted(
    three: Installation, lose: Callable[[Path], None]
) -> None:
    """A lost mount unblocked all that it listed: status 0."""
    lose(three.events)
    (three.folder / "other.txt").write_text("other.example\nnew.example\n")
    for _ in range(2):
        summary = three.refresh()
        assert faults_of(summary) == [LOST[lose]]
        assert listed(three, *NAMES, "new.example") == [*NAMES, "new.example"]
    if lose in (emptied, emptied_but_one):
        assert "--allow-empty once" in str(summary.unreadable[0])
        assert not three.refresh(allow_empty=True).unreadable
        assert listed(three, *NAMES) == list(NAMES[:2] if lose is emptied_but_one else ())


def test_file_that_is_taken_out_of_a_folder_is_gone(three: Installation) -> None:
    (three.events / "list2.txt").unlink()
    assert not three.refresh().unreadable
    assert listed(three, *NAMES) == [n for n in NAMES if "2" not in n]
    assert len(list((three.places.publisher / "last-good").glob("*.txt"))) == 3


@pytest.mark.parametrize("deeper", [(), ("a", "b")])
def test_folder_in_a_folder_that_is_suddenly_empty_is_doubted(
    three: Installation, deeper: tuple[str, ...]
) -> None:
    """Each may be a mount of its own."""
    below = three.events / "below"
    file = below.joinpath(*deeper, "list.txt")
    file.parent.mkdir(parents=True)
    file.write_text("below.example\n")
    three.refresh()
    removed(below)
    below.mkdir()
    summary = three.refresh()
    assert faults_of(summary) == ["below: had 1 files and has 0"]
    assert listed(three, *NAMES, "below.example") == [*NAMES, "below.example"]
    below.rmdir()
    assert not three.refresh().unreadable
    assert listed(three, "below.example") == []


def test_files_that_move_between_folders_are_no_loss(three: Installation) -> None:
    for name in ("incoming", "done"):
        (three.events / name).mkdir()
    (three.events / "incoming" / "day.txt").write_text("day.example\n")
    three.refresh()
    (three.events / "incoming" / "day.txt").rename(three.events / "done" / "day.txt")
    assert not three.refresh().unreadable
    assert listed(three, "day.example") == ["day.example"]


def test_path_that_is_gone_costs_itself_alone(three: Installation) -> None:
    """It ended the refresh: nothing else was brought up to date."""
    (three.folder / "other.txt").unlink()
    (three.events / "list4.txt").write_text("new.example\n")
    for _ in range(2):
        summary = three.refresh()
        assert faults_of(summary) == ["other.txt: does not exist"]
        assert listed(three, "new.example", "other.example") == ["new.example", "other.example"]


def test_file_that_is_gone_is_remembered_when_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("a.example\n")
    copies = LastGood(tmp_path / "copies")
    source = Files([path], copies)
    list(source.read([]))
    path.unlink()
    assert [a.value for a in source.remembered([])] == ["a.example"]


def test_path_through_a_link_that_is_lost_keeps_its_last_good(three: Installation) -> None:
    """Its copy was found by where the link led to."""
    real, link = three.folder / "release-1", three.folder / "current"
    real.mkdir()
    (real / "list.txt").write_text("linked.example\n")
    link.symlink_to(real)
    three.configure('sources = ["events", "current/list.txt"]')
    three.refresh()
    link.unlink()
    assert faults_of(three.refresh()) == ["list.txt: does not exist"]
    assert listed(three, "linked.example") == ["linked.example"]


def test_folder_in_whose_place_a_file_lies_is_doubted(three: Installation) -> None:
    shutil.rmtree(three.events)
    three.events.write_text("x.example\n")
    (fault,) = three.refresh().unreadable
    assert fault.problem == "had 3 files and has 1"
    assert listed(three, *NAMES) == list(NAMES)


@pytest.mark.slow
def test_what_a_lost_folder_listed_stays_while_others_are_read(three: Installation) -> None:
    three.configure(
        'sources = ["events", { type = "misp-mysql", host = "127.0.0.1", port = 1, timeout = 1 }]'
    )
    removed(three.events)
    os.environ["INKGATE_MYSQL_PASSWORD"] = "made up"
    assert three.run("inkgate-rules", "refresh", "--misp", "mysql").returncode == 1
    assert listed(three, *NAMES) == list(NAMES)


def test_long_name_costs_no_other(three: Installation) -> None:
    """The name of its copy was too long: an error of the system ended the refresh."""
    (three.events / f"list.{'x' * 240}.txt").write_text("long.example\n")
    assert not three.refresh().unreadable
    assert listed(three, "long.example") == ["long.example"]


def test_hashes_are_left_out_beside_a_manifest_only(three: Installation) -> None:
    """`hashes.csv` was neither read nor named, wherever it lay."""
    digest = "ab" * 32
    (three.events / "hashes.csv").write_text(f"sha256,note\n{digest},x\n")
    (three.events / "manifest.json").write_text('{"Event": {"uuid": "x", "Attribute": []}}')
    read = three.refresh().report.read
    assert read == len([*NAMES, "other.example"]) + len(["header", "digest"])
    (three.events / "manifest.json").write_text(
        '{"11111111-1111-4111-8111-111111111111": {"timestamp": "1"}}'
    )
    summary = three.refresh()
    assert (summary.report.read, summary.notes) == (read - 2, [])


def test_file_of_the_same_size_and_time_is_read(tmp_path: Path) -> None:
    """Whoever copies with times (rsync, cp -p) may put another file of the same there."""
    path = tmp_path / "list.txt"
    copies = LastGood(tmp_path / "copies")
    for name in ("old.example", "neu.example"):
        path.write_text(f"{name}\n")
        os.utime(path, (LONG_AGO, LONG_AGO))
        faults: list[Unreadable] = []
        assert [a.value for a in copies.read(path, read_file, faults)] == [name]
        copies.flush()
        copies = LastGood(tmp_path / "copies")


@pytest.mark.parametrize("full", [False, True])
def test_file_that_looks_the_same_is_copied_again_by_a_full_refresh(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool
) -> None:
    monkeypatch.setattr("inkgate.rules.sources.last_good._SETTLED", -1)
    path = tmp_path / "list.txt"
    path.write_text("a.example\n")
    copies = LastGood(tmp_path / "copies")
    list(copies.read(path, read_file, []))
    copies.flush()
    (copy,) = (tmp_path / "copies").glob("*.txt")
    copy.write_text("b.example\n")
    again = LastGood(tmp_path / "copies", full=full)
    (found,) = again.read(path, read_file, [])
    assert found.value == ("a.example" if full else "b.example")


def test_copy_that_was_cut_off_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inkgate.rules.sources.last_good._SETTLED", -1)
    path = tmp_path / "list.txt"
    path.write_text("a.example\nb.example\n")
    copies = LastGood(tmp_path / "copies")
    list(copies.read(path, read_file, []))
    copies.flush()
    (copy,) = (tmp_path / "copies").glob("*.txt")
    os.truncate(copy, 10)
    found = LastGood(tmp_path / "copies").read(path, read_file, [])
    assert [a.value for a in found] == ["a.example", "b.example"]


def test_list_that_only_sealing_would_refuse_keeps_its_last_good(
    installation: Installation,
) -> None:
    """The rules of its last good reading were removed, and the summary said that they count."""
    installation.add("good", attribute("domain", "a.example"))
    path = installation.folder / "c2.txt"
    path.write_text("192.0.2.1\n192.0.2.2\n192.0.2.3\n")
    installation.configure(
        'sources = ["events", { type = "list", path = "c2.txt", indicator_type = "ip-dst" }]'
    )
    rules = installation.refresh().rules
    for lines in ("one.example\ntwo.example\n", "192.0.2.*\n192.0.3.*\n"):
        path.write_text(lines)
        summary = installation.refresh()
        assert faults_of(summary) == ["c2.txt: 2 of 2 lines cannot be used (not an IP address)"]
        assert summary.rules == rules


@pytest.mark.parametrize(
    ("rows", "is_doubted"),
    [
        ("-,192.0.2.1\n-,192.0.2.2\n", False),
        ("http://a.example/,-\nhttp://b.example/,-\n", False),
        ("http://a b/,-\nhttp://c d/,-\n", True),
    ],
)
def test_row_of_which_something_can_be_used_is_not_refused(
    tmp_path: Path, rows: str, is_doubted: bool
) -> None:
    path = tmp_path / "feed.csv"
    path.write_text("url,ip\nhttp://a.example/,192.0.2.1\n")

    def refusal(attribute: object) -> str:
        value = getattr(attribute, "value", "")
        return "" if value.startswith(("http://a.", "http://b.", "192.")) else "odd"

    copies = LastGood(tmp_path / "copies", refused_share=0.2, refusal=refusal)
    list(copies.read(path, read_file, []))
    path.write_text(f"url,ip\n{rows}")
    faults: list[Unreadable] = []
    list(copies.read(path, read_file, faults))
    assert bool(faults) == is_doubted


def _bundle(*patterns: str) -> str:
    return json.dumps({"type": "bundle", "id": "bundle--x", "objects": [
        {"type": "indicator", "id": f"indicator--{n:08}-0000-4000-8000-000000000000",
         "spec_version": "2.1", "pattern_type": "stix", "created": "2026-01-01T00:00:00Z",
         "modified": "2026-01-01T00:00:00Z", "valid_from": "2026-01-01T00:00:00Z",
         "pattern": pattern}
        for n, pattern in enumerate(patterns)
    ]})  # fmt: skip


def _event(*values: object) -> str:
    rows = [{"type": "domain", "value": value, "to_ids": True} for value in values]
    return json.dumps({"Event": {"uuid": "e", "info": "i", "Attribute": rows}})


_BOTH = "[domain-name:value='a.example'] AND [domain-name:value='b.example']"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "good", "mixed"),
    [
        (
            "bundle.json",
            _bundle("[domain-name:value='old.example']"),
            _bundle(
                "[domain-name:value='old.example']", _BOTH, "[domain-name:value='new.example']"
            ),
        ),
        ("event.json", _event("old.example"), _event("old.example", True, 7, "new.example")),
    ],
    ids=["stix", "misp"],
)
def test_odd_objects_keep_no_new_one_out(
    installation: Installation, name: str, good: str, mixed: str
) -> None:
    """An odd line may mean that a list is no such list; an odd object says nothing of others."""
    assert isinstance(installation.events, Path)
    (installation.events / name).write_text(good)
    installation.refresh()
    (installation.events / name).write_text(mixed)
    summary = installation.refresh()
    assert summary.unreadable == []
    assert summary.figures()["refused"]
    for value in ("old.example", "new.example"):
        assert installation.run("inkgate-rules", "match", f"domain={value}").returncode == 0
