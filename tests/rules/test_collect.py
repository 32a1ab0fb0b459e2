"""Attributes judged here or on all cores: the spool and the report are the same."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from inkgate.rules.refresh.collect import Collector
from inkgate.rules.select.false_positives import AllowList, FalsePositives
from inkgate.rules.select.judge import Judge
from inkgate.rules.select.report import Report
from inkgate.rules.select.selection import Selection
from inkgate.rules.select.spool import Partition, Spool, read_partition
from inkgate.rules.select.warninglists import WarningLists
from inkgate.rules.settings import SelectSettings
from inkgate.rules.sources.attribute import Attribute


def made(count: int) -> Iterator[Attribute]:
    kinds = ("domain", "url", "ip-dst", "sha256", "domain|ip", "nonsense type!")
    for n in range(count):
        values = (
            f"h{n}.listed.example",
            f"http://h{n}.example/x",
            f"192.0.{n % 256}.{n // 256}",
            f"{n:064x}",
            f"pair{n}.example|198.51.100.{n % 256}",
            "?",
        )
        kind = n % len(kinds)
        yield Attribute(
            type=kinds[kind], value=values[kind], uuid=f"u{n}", to_ids=n % 7 > 0, place=f"f:{n}"
        )


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    folder = tmp_path / "lists" / "some"
    folder.mkdir(parents=True)
    (folder / "list.json").write_text(
        '{"name": "Some", "type": "hostname", "version": 1, "list": ["h6.listed.example"],'
        ' "matching_attributes": ["domain"]}'
    )
    lists = WarningLists(tmp_path / "lists", tmp_path / "index")
    selection = Selection(SelectSettings(), {}, {}, "block", datetime(2026, 1, 1, tzinfo=UTC))
    false_positives = FalsePositives(AllowList([]), lists, {"some": "drop"})
    return Judge(selection, false_positives, ("uuid",), domain_ip_by_domain=True)


def collect(judge: Judge, folder: Path, count: int) -> tuple[list[Partition], Report]:
    report, spool = Report(folder / "report.tsv"), Spool(folder / "spool")
    done: list[int] = []
    with Collector(judge, spool, report, done.append) as collector:
        for attribute in made(count):
            collector.add(attribute)
    report.close()
    assert sum(done) == report.read == count
    return spool.finish(), report


def test_all_cores_give_what_one_gives(
    judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, one = collect(judge, tmp_path / "here", 5500)
    monkeypatch.setattr("inkgate.rules.refresh.collect._WORTH_PROCESSES", 1500)
    monkeypatch.setattr("inkgate.config.processes.os.sched_getaffinity", lambda _: {0, 1})
    there, other = collect(judge, tmp_path / "there", 5500)
    assert [p.digest for p in here] == [p.digest for p in there]
    assert [list(read_partition(p.path)) for p in here] == [
        list(read_partition(p.path)) for p in there
    ]
    assert (one.counts, one.skipped, one.examples) == (other.counts, other.skipped, other.examples)
    assert one.path.read_bytes() == other.path.read_bytes()
    assert one.counts["dropped", "Some"] == 1


def test_a_source_that_breaks_off_ends_the_processes(
    judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inkgate.rules.refresh.collect._WORTH_PROCESSES", 0)
    monkeypatch.setattr("inkgate.config.processes.os.sched_getaffinity", lambda _: {0, 1})
    report, spool = Report(tmp_path / "report.tsv"), Spool(tmp_path / "spool")

    def use() -> None:
        with Collector(judge, spool, report, lambda _: None) as collector:
            for attribute in made(3000):
                collector.add(attribute)
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        use()


def test_same_records_give_the_same_digest_however_they_come(judge: Judge, tmp_path: Path) -> None:
    attributes = list(made(500))
    spools = [Spool(tmp_path / name) for name in ("whole", "pieces")]
    spools[0].take(judge.judge(attributes).portions)
    for start in range(0, 500, 7):
        spools[1].take(judge.judge(attributes[start : start + 7]).portions)
    assert [p.digest for p in spools[0].finish()] == [p.digest for p in spools[1].finish()]
