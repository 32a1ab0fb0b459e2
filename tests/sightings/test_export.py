"""`inkgate-sightings export`: what gets into files and folders, and what gets in its way."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from inkgate.sightings.journal.block import Block
from inkgate.sightings.journal.database import BUSY_SECONDS, open_writer, transaction
from inkgate.sightings.journal.records import insert
from support.exporting import ATTRIBUTE, DAY, MORNING, OTHER, Exporting, lines, match
from support.misp import MispServer
from support.reporting import populated
from support.small_disk import small_disk
from support.waiting import wait_until

# A process or several for each test.
pytestmark = pytest.mark.slow

ECS = 'format = "ecs"\nfile = "ecs.json"'
OCSF = 'format = "ocsf"\nfile = "ocsf.json"'
CEF = 'format = "cef"\nfile = "events.cef"'
STIX = 'format = "stix"\nfolder = "stix"\nupdate_minutes = 0'


@pytest.fixture
def four() -> Iterator[Exporting]:
    with Exporting(ECS, OCSF, CEF, STIX) as exporting:
        yield exporting


def ids(path: Path) -> list[str]:
    return [line["event"]["id"] for line in lines(path)]


def incidents(path: Path) -> list[str]:
    return [line["labels"]["incident"] for line in lines(path)]


def test_each_record_is_exported_once_in_each_format(four: Exporting) -> None:
    seen = [four.saw(ATTRIBUTE, moment=MORNING + n).incident for n in range(3)]
    assert "ecs ecs.json: exported 3" in four.export()
    seen.append(four.saw(OTHER).incident)
    four.export()
    assert four.run("export", "--quiet") == ""
    assert incidents(four.folder / "ecs.json") == seen
    events = lines(four.folder / "ocsf.json")
    for number in (2004, 4002):
        told = [e["metadata"]["correlation_uid"] for e in events if e["class_uid"] == number]
        assert told == seen
    cef = (four.folder / "events.cef").read_text().splitlines()
    assert [line.partition("cs1=")[2].split()[0] for line in cef] == seen
    first, second = four.bundles()
    kinds = [[one["type"] for one in found["objects"]] for found in (first, second)]
    assert kinds == [["identity", "sighting"]] * 2
    assert [found["objects"][1]["count"] for found in (first, second)] == [3, 1]
    for name in ("ecs.json", "ocsf.json", "events.cef"):
        assert (four.folder / name).stat().st_mode & 0o777 == 0o640
    for path in (four.folder / "stix").iterdir():
        assert path.stat().st_mode & 0o777 == 0o640


def test_nothing_leaves_but_what_the_journal_has(four: Exporting) -> None:
    four.saw(ATTRIBUTE, client="h:0123456789abcdef01234567")
    four.export()
    for path in four.folder.rglob("*"):
        if path.suffix in (".json", ".cef"):
            text = path.read_text()
            assert "://" not in text
            assert "192.0.2" not in text
            if path.parent.name != "stix":
                assert "h:0123456789abcdef01234567" in text


def test_canaries_are_never_exported(four: Exporting) -> None:
    # Of an older version that journalled their attributes, too.
    canary = four.saw(ATTRIBUTE, action="canary")
    other = four.saw(OTHER, incident=canary.incident)
    four.export()
    assert incidents(four.folder / "ecs.json") == [other.incident]
    assert len(lines(four.folder / "ocsf.json")) == 2
    assert (four.folder / "events.cef").read_text().count("\n") == 1
    (found,) = four.bundles()
    (told,) = (one for one in found["objects"] if one["type"] == "sighting")
    assert told["sighting_of_ref"] == f"indicator--{OTHER}"


def test_export_goes_on_whatever_misp_does() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        misp = (
            f'[sightings.misp]\nurl = "http://127.0.0.1:{nobody.getsockname()[1]}"\n'
            'key_file = "misp.key"\nattempts = 1\ntimeout = 0.2'
        )
        with Exporting(ECS, more=misp) as exporting:
            (exporting.folder / "misp.key").write_text("k" * 40)
            seen = exporting.saw(ATTRIBUTE)
            exporting.run("report", status=1)
            exporting.export()
            assert incidents(exporting.folder / "ecs.json") == [seen.incident]


def test_report_and_export_have_positions_of_their_own() -> None:
    misp = populated(1, 1)
    (uuid,) = (attribute.uuid for attribute in misp.attributes.values())
    with MispServer(misp) as server:
        more = f'[sightings.misp]\nurl = "{server.url}"\nkey_file = "misp.key"'
        with Exporting(ECS, more=more) as exporting:
            (exporting.folder / "misp.key").write_text(server.key)
            first = exporting.saw(uuid)
            exporting.run("report")
            second = exporting.saw(uuid)
            exporting.export()
            assert incidents(exporting.folder / "ecs.json") == [first.incident, second.incident]
            assert exporting.run("report").startswith("reported 0")


def test_new_export_begins_at_the_beginning_or_now() -> None:
    late = 'format = "ecs"\nfile = "late.json"\nstart = "now"'
    with Exporting(ECS, late) as exporting:
        before = exporting.saw(ATTRIBUTE)
        exporting.export()
        after = exporting.saw(ATTRIBUTE)
        exporting.export()
        assert incidents(exporting.folder / "ecs.json") == [before.incident, after.incident]
        assert incidents(exporting.folder / "late.json") == [after.incident]


def test_sighting_is_one_for_each_attribute_node_and_window() -> None:
    with Exporting(STIX) as exporting:
        for node in ("proxy1", "proxy2"):
            for day in range(2):
                for hour in (1, 5):
                    moment = MORNING + day * DAY + hour * 3600
                    exporting.saw(ATTRIBUTE, OTHER, node=node, moment=moment)
        exporting.saw("no-uuid")
        exporting.saw()
        exporting.export()
        (found,) = exporting.bundles()
        told = [one for one in found["objects"] if one["type"] == "sighting"]
        assert len(told) == 8
        assert {one["count"] for one in told} == {2}
        assert len({one["id"] for one in told}) == 8
        nodes = {one["id"]: one["name"] for one in found["objects"] if one["type"] == "identity"}
        assert sorted(nodes.values()) == ["proxy1", "proxy2"]
        for one in told:
            assert (one["first_seen"][11:13], one["last_seen"][11:13]) == ("01", "05")
            assert set(one["where_sighted_refs"]) <= set(nodes)


def test_sighting_is_told_again_with_its_count_and_no_sooner_than_asked_for() -> None:
    seldom = 'format = "stix"\nfolder = "seldom"\nupdate_minutes = 60'
    with Exporting(STIX, seldom) as exporting:
        for _ in range(3):
            exporting.saw(ATTRIBUTE)
            exporting.export()
            exporting.export()
        told = [found["objects"][1] for found in exporting.bundles()]
        assert [one["count"] for one in told] == [1, 2, 3]
        assert len({one["id"] for one in told}) == len({one["created"] for one in told}) == 1
        assert sorted({one["modified"] for one in told}) == [one["modified"] for one in told]
        assert len({one["modified"] for one in told}) == 3
        assert [found["objects"][1]["count"] for found in exporting.bundles("seldom")] == [1]


def test_organisation_tells_in_its_name() -> None:
    with Exporting(f'{STIX}\norganisation = "Example"') as exporting:
        exporting.saw(ATTRIBUTE)
        exporting.export()
        (found,) = exporting.bundles()
        organisation, node, told = found["objects"]
        assert (organisation["name"], organisation["identity_class"]) == ("Example", "organization")
        assert told["created_by_ref"] == organisation["id"]
        assert told["where_sighted_refs"] == [node["id"]]


def test_false_positive_goes_out_where_the_format_has_it(four: Exporting) -> None:
    seen = four.saw(ATTRIBUTE, OTHER)
    four.export()
    # There is no MISP.
    for _ in range(2):
        assert "the next export tells it" in four.run("false-positive", seen.incident)
        four.export()
    created, _, closed = lines(four.folder / "ocsf.json")
    assert closed["finding_info"]["uid"] == created["finding_info"]["uid"]
    assert (closed["activity_name"], closed["verdict"]) == ("Close", "False Positive")
    told = [one for found in four.bundles() for one in found["objects"]]
    opinions = [one for one in told if one["type"] == "opinion"]
    assert {one["opinion"] for one in opinions} == {"strongly-disagree"}
    assert sorted(ref for one in opinions for ref in one["object_refs"]) == [
        f"indicator--{ATTRIBUTE}",
        f"indicator--{OTHER}",
    ]
    assert len(lines(four.folder / "ecs.json")) == 1


def test_false_positive_of_the_checks_own_request_is_refused(four: Exporting) -> None:
    seen = four.saw(action="canary")
    four.run("false-positive", seen.incident, status=2)


def test_file_that_logrotate_moves_is_made_again(tmp_path: Path) -> None:
    with Exporting(ECS) as exporting, exporting.following(tmp_path / "log"):
        path = exporting.folder / "ecs.json"
        seen = [exporting.saw(ATTRIBUTE).incident]
        wait_until(lambda: path.exists() and len(incidents(path)) == 1, "the first line")
        for number in range(3):
            path.rename(exporting.folder / f"ecs.json.{number}")
            seen.append(exporting.saw(ATTRIBUTE).incident)
            wait_until(lambda: path.exists() and path.stat().st_size, "the next file")
        files = [*(exporting.folder / f"ecs.json.{n}" for n in range(3)), path]
        assert [i for found in files for i in incidents(found)] == seen
        assert path.stat().st_mode & 0o777 == 0o640


def test_line_that_a_killed_writer_left_unfinished_is_taken_away() -> None:
    with Exporting(ECS) as exporting:
        path = exporting.folder / "ecs.json"
        exporting.saw(ATTRIBUTE)
        exporting.export()
        whole = path.read_bytes()
        path.write_bytes(whole + whole[:100])
        exporting.saw(ATTRIBUTE)
        exporting.export()
        assert path.read_bytes().startswith(whole)
        assert len(lines(path)) == 2


def test_line_of_somebody_else_stays_and_ours_begins_anew() -> None:
    with Exporting(ECS) as exporting:
        path = exporting.folder / "ecs.json"
        path.write_text("what was here before")
        exporting.saw(ATTRIBUTE)
        exporting.export()
        first, second = path.read_text().splitlines()
        assert first == "what was here before"
        assert json.loads(second)["event"]["kind"] == "alert"


def test_killed_exporter_loses_nothing_and_tears_no_line(tmp_path: Path) -> None:
    """Killed (-9) 20 times while records come in."""
    chosen = random.Random(20)
    with Exporting(f"{ECS}\nbatch = 7", f"{STIX}\nbatch = 3\ngather_seconds = 0") as exporting:
        path = exporting.folder / "ecs.json"
        seen: list[str] = []
        for _ in range(20):
            block = Block()
            for n in range(200):
                seen.append(match().incident)
                rule = ("domain", "block", (ATTRIBUTE if n % 3 else OTHER,), ("12",))
                block.add(MORNING + n, seen[-1], "192.0.2.7", "GET", [rule])
            exporting.journal.append_block(f"proxy{len(seen) // 200 % 5}", block)
            before = path.stat().st_size if path.exists() else 0
            enough = before + min(chosen.randrange(1, 60_000), 40_000)
            process = subprocess.Popen(exporting.command("export", "--follow"), stderr=-3)
            wait_for_size(path, enough)
            process.send_signal(signal.SIGKILL)
            process.wait()
        exporting.export()
        told = lines(path)
        assert {line["labels"]["incident"] for line in told} == set(seen)
        # What is there twice, after a kill, has one id, and is the same.
        assert len({line["event"]["id"] for line in told}) == len(seen)
        assert len({json.dumps(line) for line in told}) == len(seen)
        newest: dict[str, tuple[str, int]] = {}
        versions: dict[tuple[str, str], str] = {}
        for found in exporting.bundles():
            for one in found["objects"]:
                assert versions.setdefault((one["id"], one["modified"]), json.dumps(one)) == (
                    json.dumps(one)
                )
                if one["type"] == "sighting":
                    version = (one["modified"], one["count"])
                    newest[one["id"]] = max(newest.get(one["id"], version), version)
        assert len(newest) == 10
        assert sum(count for _, count in newest.values()) == len(seen)


def wait_for_size(path: Path, enough: int) -> None:
    wait_until(lambda: path.exists() and path.stat().st_size >= enough, "some lines")


def fill(place: Path) -> Path:
    """Leave no room on a disk."""
    filling = place / "filling"
    with filling.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            while True:
                try:
                    file.write(bytes(size))
                except OSError:
                    break
    return filling


def test_export_waits_for_a_full_disk_and_goes_on(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with small_disk(tmp_path / "disk", 1) as disk:
        export = f'format = "ecs"\nfile = "{disk}/ecs.json"\nbatch = 100'
        with Exporting(export, OCSF) as exporting:
            path = disk / "ecs.json"
            seen = [exporting.saw(ATTRIBUTE).incident]
            exporting.export()
            filling = fill(disk)
            seen += [exporting.saw(ATTRIBUTE).incident for _ in range(20)]
            assert "No space left on device" in exporting.export(status=1)
            assert incidents(path) == seen[:1]
            assert "No space left on device" in exporting.rows()["export"]["text"]
            # Another export goes on.
            assert len(lines(exporting.folder / "ocsf.json")) == 2 * len(seen)
            with exporting.following(log):
                wait_until(
                    lambda: exporting.rows().get("export-waits", {}).get("level") == 1,
                    "the condition to begin",
                )
                row = exporting.rows()["export-waits"]
                assert f"{path}: No space left on device" in row["text"]
                assert incidents(path) == seen[:1]
                filling.unlink()
                wait_until(lambda: len(incidents(path)) == len(seen), "what had waited")
                wait_until(
                    lambda: not exporting.rows()["export-waits"]["data"]["now"], "it to be over"
                )
            assert incidents(path) == seen
        assert "warning: export-waits: ecs" in log.read_text()
        assert "recovered: export-waits" in log.read_text()


def test_lines_are_not_written_again_while_the_journal_cannot_be_written(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with Exporting(ECS) as exporting, exporting.following(log):
        path = exporting.folder / "ecs.json"
        seen = [exporting.saw(ATTRIBUTE).incident]
        wait_until(lambda: path.exists() and incidents(path) == seen, "the first line")
        with closing(open_writer(exporting.journal.path)) as writer:
            while "export-waits" not in log.read_text():
                sighting = match(ATTRIBUTE)
                seen.append(sighting.incident)
                with transaction(writer):
                    insert(writer, [(None, sighting)])
                # The exporter may read what is there, but note nothing, unless it was faster.
                with transaction(writer):
                    wait_until(
                        lambda: (
                            len(incidents(path)) == len(seen) or "export-waits" in log.read_text()
                        ),
                        "the next line",
                    )
                    end = time.monotonic() + 2 * BUSY_SECONDS
                    while time.monotonic() < end and "export-waits" not in log.read_text():
                        time.sleep(0.05)
        assert "database is locked" in log.read_text()
        wait_until(lambda: "recovered: export-waits" in log.read_text(), "the end of it")
        seen.append(exporting.saw(ATTRIBUTE).incident)
        wait_until(lambda: seen[-1] in incidents(path), "the last line")
        assert incidents(path) == seen


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_file_is_refused(kind: str) -> None:
    with Exporting(ECS) as exporting:
        path = exporting.folder / "ecs.json"
        if kind == "folder":
            path.mkdir()
        elif kind == "link":
            path.symlink_to(exporting.folder / "elsewhere")
        else:
            os.mkfifo(path)
        exporting.saw(ATTRIBUTE)
        assert "is not a regular file" in exporting.export(status=2)
        assert not (exporting.folder / "elsewhere").exists()


def test_folder_that_is_not_there_waits(tmp_path: Path) -> None:
    export = 'format = "ecs"\nfile = "later/ecs.json"\nattempts = 2'
    with Exporting(export) as exporting:
        seen = exporting.saw(ATTRIBUTE)
        assert "No such file or directory" in exporting.export(status=1)
        (exporting.folder / "later").mkdir()
        exporting.export()
        assert incidents(exporting.folder / "later" / "ecs.json") == [seen.incident]


def test_records_are_kept_until_every_export_has_them() -> None:
    away = 'format = "ecs"\nfile = "later/ecs.json"\nattempts = 1'
    with Exporting(OCSF, away, sightings="keep_days = 1") as exporting:
        seen = [exporting.saw(ATTRIBUTE, moment=MORNING + n).incident for n in range(10)]
        exporting.export(status=1)
        assert exporting.run("prune").endswith("removed 0\n")
        (exporting.folder / "later").mkdir()
        # It removes them by itself afterwards; the newest record always stays.
        exporting.export()
        assert incidents(exporting.folder / "later" / "ecs.json") == seen
        assert exporting.run("list").count("\n") == 1


def test_records_that_hard_mib_took_from_an_export_are_said(tmp_path: Path) -> None:
    away = 'format = "ecs"\nfile = "later/ecs.json"\nattempts = 1'
    with Exporting(away, sightings="keep_mib = 1\nhard_mib = 1") as exporting:
        exporting.saw(ATTRIBUTE)
        exporting.export(status=1)
        for _ in range(20):
            exporting.journal.append([match(ATTRIBUTE, client="c" * 300) for _ in range(300)])
        assert "before they were reported or exported" in exporting.run("prune")
        (exporting.folder / "later").mkdir()
        said = exporting.export()
        assert "critical: export-lost: ecs later/ecs.json: " in said
        assert exporting.rows()["export-lost"]["level"] == 2
        assert exporting.rows()["export-lost"]["data"]["count"] > 100
        assert len(lines(exporting.folder / "later" / "ecs.json")) > 100


def test_two_exporters_of_a_journal_are_one_too_many(tmp_path: Path) -> None:
    with Exporting(ECS) as exporting, exporting.following(tmp_path / "log"):
        lock = exporting.folder / "sightings.db.exporter"
        wait_until(lock.exists, "the first exporter")
        wait_until(
            lambda: (
                subprocess.run(
                    exporting.command("export"), capture_output=True, text=True, check=False
                ).returncode
                == 2
            ),
            "the second one to be refused",
        )
        assert "another inkgate-sightings export" in exporting.export(status=2)


@pytest.mark.parametrize(
    ("export", "said"),
    [
        ('format = "leef"\nfile = "x"', "the formats are stix, ecs, ocsf, cef"),
        ('format = "ecs"', "one of file, folder and url"),
        ('format = "ecs"\nfile = "x"\nurl = "https://taxii.example/"', "one of file, folder"),
        ('format = "ecs"\nurl = "https://taxii.example/"', "ecs goes to a file"),
        ('format = "stix"\nfile = "x"', "stix goes to a folder or to a TAXII server"),
        ('format = "stix"\nurl = "taxii.example"', "url begins with https://"),
        ('format = "stix"\nurl = "https://u:p@taxii.example/"', "url holds no user"),
        ('format = "ocsf"\nfile = "x"\nclasses = []', "classes names"),
        ('format = "ocsf"\nfile = "x"\nclasses = [1001]', "classes"),
        ('format = "ecs"\nfile = "x"\nfiel = "y"', "did you mean file?"),
    ],
)
def test_export_that_cannot_be_is_said_in_one_line(export: str, said: str) -> None:
    with Exporting(export) as exporting:
        text = exporting.export(status=2)
        assert said in text
        assert text.count("\n") == 1


def test_export_without_any_in_the_settings_says_what_to_add() -> None:
    with Exporting() as exporting:
        assert "[[sightings.export]]" in exporting.export(status=2)


def test_two_exports_to_one_place_are_refused() -> None:
    with Exporting(ECS, ECS) as exporting:
        assert "to the same place" in exporting.export(status=2)


def test_status_counts_what_some_export_has_not_passed() -> None:
    with Exporting(ECS, CEF) as exporting:
        for _ in range(3):
            exporting.saw(ATTRIBUTE)
        assert json.loads(exporting.run("status", "--json"))["unexported"] == 3
        exporting.export()
        assert json.loads(exporting.run("status", "--json"))["unexported"] == 0
        assert exporting.rows()["export"]["level"] == 0


def test_matches_that_come_while_it_follows_are_in_the_file_within_seconds(tmp_path: Path) -> None:
    with Exporting(ECS) as exporting, exporting.following(tmp_path / "log"):
        path = exporting.folder / "ecs.json"
        began = time.monotonic()
        exporting.saw(ATTRIBUTE)
        wait_until(lambda: path.exists() and len(lines(path)) == 1, "the line")
        assert time.monotonic() - began < 20
        assert exporting.rows()["export"]["level"] == 0


def test_export_that_nobody_runs_is_said() -> None:
    with Exporting(ECS) as exporting:
        row = exporting.rows()["export"]
        assert (row["level"], "nothing was exported" in row["text"]) == (1, True)
        exporting.export()
        assert exporting.rows()["export"]["level"] == 0
