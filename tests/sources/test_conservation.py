"""What goes in comes out: every line and attribute is counted once, whatever is done to a file."""

from __future__ import annotations

import codecs
import gzip
import json
import random
from pathlib import Path

import pytest

from inkgate.rules.refresh.refresh import Summary
from support.installation import Installation

EVENT = json.dumps({"Event": {"uuid": "e", "info": "i", "Attribute": [
    {"type": "domain", "value": f"host{n}.example", "uuid": f"u{n}", "to_ids": n % 3 != 0}
    for n in range(30)] + [
    {"type": "domain|ip", "value": "pair.example|192.0.2.9", "uuid": "p", "to_ids": True},
    {"type": "ip-dst", "value": "192.0.2.9", "uuid": "q", "to_ids": True},
    {"type": "ip-dst", "value": "nonsense", "uuid": "r", "to_ids": True},
    {"type": "ip-dst", "value": "203.0.113.0/26", "uuid": "s", "to_ids": True, "deleted": True}],
    "Object": [{"uuid": "o", "Attribute": [
        {"type": "sha256", "value": "ab" * 32, "uuid": "t", "to_ids": True}]}],
}}, indent=1)  # fmt: skip
MISP_CSV = "uuid,type,value,to_ids\n" + "".join(
    f'"c{n}","domain","csv{n}.example","{n % 2}"\n' for n in range(20)
)
COLUMNS = "# id,dateadded,url,sha256_hash\n" + "".join(
    f'"{n}","2026-01-01","http://u{n}.example/","{n:064x}"\n' for n in range(1, 15)
)
PLAIN = "# list\n\n" + "".join(
    f"{value}\n"
    for value in ("plain.example", "192.0.2.1 # seen", "192.0.2.0 - 192.0.2.5", "what is this",
                  "http://plain.example/x malware", "plain.example", "ab" * 16,
                  "domain\tother.example", "2001:db8::/33", "plain.example:8080")
)  # fmt: skip
HOSTS = "# hosts\n127.0.0.1 localhost\n" + "".join(
    f"0.0.0.0 h{n}.example i{n}.example # x\n" for n in range(15)
)
ADBLOCK = "[Adblock]\n! x\n@@||ok.example^\n" + "".join(f"||ad{n}.example^\n" for n in range(15))
DNSMASQ = "# x\nno-resolv\n" + "".join(f"address=/d{n}.example/e{n}.example/#\n" for n in range(9))
UNBOUND = "server:\n" + "".join(f'local-zone: "z{n}.example" static\n' for n in range(9))
RPZ = "$TTL 1h\n@ SOA a. b. 1 2 3 4 5\n" + "".join(
    f"r{n}.example CNAME .\n*.r{n}.example CNAME .\n" for n in range(9)
)
DROP = (
    "".join(json.dumps({"cidr": f"10.{n}.0.0/16", "sblid": "x"}) + "\n" for n in range(9))
    + '{"type":"metadata"}\n'
)
STIX = json.dumps({"type": "bundle", "objects": [
    {"type": "indicator", "id": f"indicator--00000000-0000-4000-8000-{n:012}",
     "pattern_type": "stix", "valid_from": "2026-01-01T00:00:00Z", "revoked": n % 5 == 0,
     "pattern": f"[url:value='http://s{n}.example/'] OR [domain-name:value='t{n}.example']"}
    for n in range(20)] + [{"type": "identity", "id": "identity--1", "name": "x"}]},
    indent=1)  # fmt: skip
GOOD = {
    "bundle.stix": STIX,
    "event.json": EVENT,
    "misp.csv": MISP_CSV,
    "columns.csv": COLUMNS,
    "plain.txt": PLAIN,
    "hosts.txt": HOSTS,
    "adblock.txt": ADBLOCK,
    "dnsmasq.conf": DNSMASQ,
    "unbound.conf": UNBOUND,
    "zone.rpz": RPZ,
    "drop.json": DROP,
}
LINES = {"plain.txt", "hosts.txt", "adblock.txt", "dnsmasq.conf", "unbound.conf", "zone.rpz"}
INSERTED = ["\0", "\x1b[2J", "#", ";", "\t", " ", "|", "/", ":", ",", '"', "\n", "\r\n", "..",
            "\u202e", "\ud800", "0.0.0.0 ", "@@", "[", "{", "true", "xn--", "%25" * 9]  # fmt: skip


def mutated(data: bytes, random_: random.Random) -> bytes:
    """A file that something has happened to."""
    for _ in range(random_.randrange(4)):
        place = random_.randrange(len(data) + 1)
        end = min(len(data), place + random_.randrange(1, 40))
        what = random_.choice(INSERTED).encode("utf-8", "surrogatepass")
        data = random_.choice([
            data[:place] + what + data[place:],
            data[:place] + what + data[end:],
            data[:place] + data[end:],
            data[:end] + data[place:],
            data[:place],
            codecs.BOM_UTF8 + data,
        ])  # fmt: skip
    return gzip.compress(data) if random_.random() < 0.1 else data


def check(summary: Summary) -> None:
    """The sums of a summary: nothing is lost, and nothing counts twice."""
    found = summary.figures()
    skipped = found["skipped"]
    assert isinstance(skipped, dict)
    fates = found["refused"], found["screened"], found["sealed"]
    assert found["read"] == sum(skipped.values()) + sum(map(int, fates))  # type: ignore[call-overload]
    reasons = found["refused_by_reason"]
    assert isinstance(reasons, dict)
    assert found["refused"] == sum(reasons.values())
    assert summary.report.records >= summary.report.fates["sealed"]
    assert summary.report.records + summary.pieces == summary.merged + summary.sealed
    assert summary.merged >= 0
    assert summary.rules == summary.sealed + summary.canaries


def refresh(installation: Installation, name: str, data: bytes) -> Summary:
    for old in installation.events.iterdir():
        old.unlink()
    (installation.events / name).write_bytes(data)
    return installation.refresh(allow_empty=True)


@pytest.mark.parametrize("name", GOOD)
def test_good_file_is_counted_whole(installation: Installation, name: str) -> None:
    summary = refresh(installation, name, GOOD[name].encode())
    check(summary)
    assert not summary.unreadable
    report = summary.report
    assert summary.sealed
    if name in LINES:
        assert report.read - report.more == GOOD[name].count("\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", GOOD)
def test_mutated_file_is_counted_whole_or_said(installation: Installation, name: str) -> None:
    random_ = random.Random(f"conservation {name}")
    for _ in range(12):
        data = mutated(GOOD[name].encode(), random_)
        summary = refresh(installation, name, data)
        check(summary)
        said = summary.unreadable or summary.report.read or not data.strip(b"\xef\xbb\xbf \r\n")
        assert said, data


@pytest.mark.slow
def test_summary_for_people_and_programs(installation: Installation) -> None:
    (installation.events / "list.txt").write_text(PLAIN)
    (installation.events / "notes.md").write_text("x")
    done = installation.run("inkgate-rules", "refresh", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["read"] == sum(found["skipped"].values()) + sum(
        found[name] for name in ("refused", "screened", "sealed")
    )
    assert found["skipped"] == {"remark or blank": 2}
    assert found["refused"] == 1
    assert found["more_of_one_line"] == 1
    assert "notes.md" in found["not_sources"][0]
    shown = installation.run("inkgate-rules", "refresh").stdout
    assert f"read  {found['read']} (1 of them further values of a line)" in shown


def test_types_that_no_proxy_sees_are_counted(installation: Installation) -> None:
    """They were sealed and blocked nothing, without a word."""
    seen = [{"type": "domain", "value": "a.example", "uuid": "a", "to_ids": True}]
    never = [{"type": "yara", "value": f"rule r{n} {{}}", "uuid": f"y{n}", "to_ids": True}
             for n in range(3)]  # fmt: skip
    event = {"Event": {"uuid": "e", "info": "i", "Attribute": seen + never}}
    (installation.events / "event.json").write_text(json.dumps(event))
    summary = installation.refresh()
    check(summary)
    assert summary.unobserved == {"yara": 3}


def test_mutations_reach_every_reader(tmp_path: Path) -> None:
    """The property above can fail: a line that vanishes would be missed by no sum."""
    random_ = random.Random("reach")
    changed = sum(
        mutated(text.encode(), random_) != text.encode() for text in GOOD.values() for _ in range(9)
    )
    assert changed > len(GOOD) * 4
