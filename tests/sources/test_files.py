"""Files as strangers give them: packed, of another encoding or ending, damaged, no files at all."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from inkgate.config.errors import Unreadable
from inkgate.config.secret import read_secret
from inkgate.misp.connector import Connector
from inkgate.remote.deadline import Deadline
from inkgate.remote.errors import RemoteError
from inkgate.remote.web import WebClient
from inkgate.rules.refresh.collect import read_allow_list
from inkgate.rules.select.report import Report
from inkgate.rules.select.warninglist_index import compile_lists
from inkgate.rules.sources.feed_manifest import read_manifest
from inkgate.rules.sources.files import find_files
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.mysql_session import MispMysqlSettings, _options
from inkgate.rules.sources.readers import source_file
from inkgate.rules.sources.readers.registry import read_file, read_path
from inkgate.rules.sources.readers.source_file import SourceFile
from support.installation import Installation, attribute

EVENT = json.dumps({"Event": {"uuid": "e", "info": "i", "Attribute": [
    {"type": "domain", "value": "a.example", "uuid": "u", "to_ids": True}]}})  # fmt: skip
CSV = 'uuid,type,value\n"u","domain","a.example"\n'
LIST = "a.example\n"
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
    ".GZ": gzip.compress,
}
NAMES = {"event.json": EVENT, "E.JSON": EVENT, "export.csv": CSV, "EXPORT.CSV": CSV,
         "list.txt": LIST, "LIST.TXT": LIST, "event.txt": EVENT, "export.list": CSV}  # fmt: skip
ENCODINGS = {
    "utf-8": str.encode,
    "utf-8-sig": lambda text: codecs.BOM_UTF8 + text.encode(),
    "utf-16-le": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "utf-16-be": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "crlf": lambda text: text.replace("\n", "\r\n").encode(),
    "cr": lambda text: text.replace("\n", "\r").encode(),
}


def values(path: Path) -> list[tuple[str, str]]:
    return [(a.type, a.value) for a in read_path(path) if not a.skipped]


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("name", NAMES)
def test_type_is_told_by_content(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"{name}{suffix}"
    path.write_bytes(PACKERS[suffix](NAMES[name].encode()))
    assert values(path) == [("domain", "a.example")]
    assert find_files([tmp_path], []) == [path]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", ["event.json", "export.csv", "list.txt"])
def test_encodings_and_line_ends(tmp_path: Path, name: str, encoding: str) -> None:
    path = tmp_path / name
    path.write_bytes(ENCODINGS[encoding](NAMES[name]))
    assert values(path) == [("domain", "a.example")]


NOT_READ = {
    "zip": (b"PK\x03\x04" + bytes(30), "is a ZIP archive"),
    "pdf": (b"%PDF-1.7\n", "is a PDF"),
    "tar": (bytes(257) + b"ustar\x0000" + bytes(200), "is a tar archive"),
    "binary": (b"a.example\n\0\1\2", "is not text"),
    "utf-16": (codecs.BOM_UTF16_LE + b"a\0b", "UTF-16"),
    "html": (b"<html>", None),
}


@pytest.mark.parametrize("kind", [kind for kind, (_, said) in NOT_READ.items() if said])
def test_what_nobody_reads_is_named(tmp_path: Path, kind: str) -> None:
    data, said = NOT_READ[kind]
    path = tmp_path / "list.txt"
    path.write_bytes(data)
    with pytest.raises(Unreadable, match=f"list.txt.*{said}"):
        list(read_path(path))


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _link_to_pipe(path: Path) -> None:
    os.mkfifo(path.with_name("other"))
    path.symlink_to(path.with_name("other"))


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _folder(path: Path) -> None:
    path.symlink_to(path.parent)


def _loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [_pipe, _link_to_pipe, _device, _folder, _loop])
def test_no_regular_file_is_a_fault_of_its_own(
    installation: Installation, make: Callable[[Path], None]
) -> None:
    """A pipe held a refresh for ever, a device filled the memory."""
    installation.add("good", attribute("domain", "a.example"))
    outside = installation.folder / "list.txt"
    make(outside)
    if make is not _folder:
        installation.configure('sources = ["events", "list.txt"]')
    else:
        make(installation.events / "below")
    if make is _loop:
        installation.configure('sources = ["events"]')
        make(installation.events / "loop.txt")
    summary = installation.refresh()
    assert summary.sealed >= 1
    (fault,) = [*summary.unreadable, *summary.notes]
    assert "list.txt" in str(fault) or "below" in str(fault) or "loop.txt" in str(fault)


def test_what_a_folder_holds_and_nobody_reads_is_named(installation: Installation) -> None:
    installation.add("good", attribute("domain", "a.example"))
    (installation.events / "README.md").write_text("# lists\n")
    (installation.events / ".hidden").write_text("x\n")
    (installation.events / "manifest.json").write_text("{}")
    summary = installation.refresh()
    assert not summary.unreadable
    (note,) = summary.notes
    assert "README.md" in str(note)


@pytest.mark.slow
def test_folder_that_cannot_be_listed_is_a_fault_of_its_own() -> None:
    """Else all that it listed would be unblocked without a word."""
    code = (
        "import sys; from pathlib import Path; from inkgate.rules.sources.files import find_files\n"
        "print(find_files([Path(sys.argv[1])], faults := []), *faults)"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        closed, unseen = Path(folder, "closed"), Path(folder, "unseen")
        closed.mkdir(mode=0)
        (unseen / "below").mkdir(parents=True)
        Path(folder, "list.txt").touch()
        # It can be listed, and nothing in it be looked at.
        unseen.chmod(0o444)
        # Root may look into every folder.
        user = {"user": 65534, "group": 65534} if os.geteuid() == 0 else {}
        done = subprocess.run(
            [sys.executable, "-c", code, folder],
            capture_output=True,
            text=True,
            check=False,
            **user,
        )
    assert not done.stderr
    assert "list.txt" in done.stdout
    for place in (closed, unseen / "below"):
        assert f"{place}: Permission denied; check the folder" in done.stdout


@pytest.mark.slow
def test_damaged_file_costs_itself_alone(installation: Installation) -> None:
    """One flipped byte in a .gz ended all refreshes with a traceback."""
    installation.add("good", attribute("domain", "good.example"))
    path = installation.events / "list.txt.gz"
    data = gzip.compress(b"".join(b"host%d.example\n" % n for n in range(3000)))
    path.write_bytes(data)
    assert installation.run("inkgate-rules", "refresh").returncode == 0
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    path.write_bytes(flipped)
    done = installation.run("inkgate-rules", "refresh")
    assert done.returncode == 1
    assert f"{path}: is damaged" in done.stderr
    assert "Traceback" not in done.stderr
    for name in ("good.example", "host7.example"):
        assert installation.run("inkgate-rules", "match", f"domain={name}").returncode == 0


NAMED = {"type": "domain", "value": "x.example"}
ODD = [
    ("value that is a flag", {"type": "domain", "value": True}, ""),
    ("value that is a list", {"type": "domain", "value": ["x.example"]}, ""),
    ("comment that is a flag", {**NAMED, "comment": False}, "x.example"),
    ("tags that are a map", {**NAMED, "Tag": {"1": {"name": "t"}}}, "x.example"),
    ("tag without a name", {**NAMED, "Tag": [{"name": []}]}, "x.example"),
    ("attribute that is none", 7, ""),
]


@pytest.mark.parametrize(("_what", "odd", "value"), ODD, ids=[what for what, *_ in ODD])
def test_odd_attribute_costs_no_other(tmp_path: Path, _what: str, odd: object, value: str) -> None:
    """One attribute with `"value": true` cost a whole file."""
    good = json.loads(EVENT)["Event"]["Attribute"]
    path = tmp_path / "event.json"
    for holder in ([*good, odd], {"0": good[0], "2": odd}):
        path.write_text(json.dumps({"Event": {"uuid": "e", "Orgc": [], "Attribute": holder}}))
        assert [a.value for a in read_path(path)] == ["a.example", value]


NOT_JSON = {
    "number too large": '{"type":"domain","value":"x.example","timestamp":1e999}',
    "number of 4,000 digits": '{"type":"counter","value":' + "9" * 4000 + "}",
    "surrogate": '{"type":"domain","value":"x.example","comment":"\\ud800"}',
    "not a number": '{"type":"domain","value":NaN}',
    "nested member": '{"type":"domain","value":"x.example","more":' + "[" * 500 + "]" * 500 + "}",
}


@pytest.mark.parametrize("odd", NOT_JSON.values(), ids=NOT_JSON)
def test_attribute_that_strict_json_has_not_costs_no_other(tmp_path: Path, odd: str) -> None:
    good = json.dumps(json.loads(EVENT)["Event"]["Attribute"][0])
    path = tmp_path / "event.json"
    path.write_text(f'{{"Event":{{"uuid":"e","info":"i","Attribute":[{good},{odd}]}}}}')
    found = list(read_path(path))
    assert len(found) == 2
    assert found[0].value == "a.example"


@pytest.mark.parametrize("start", ["", '{"type":"bundle","id":"bundle--1","objects":'])
def test_json_that_would_fill_the_memory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    """It takes twenty times its size, and a packed file of a kilobyte may hold a megabyte."""
    monkeypatch.setattr(source_file, "MAX_PARTS", 10_000)
    path = tmp_path / "event.json.gz"
    path.write_bytes(gzip.compress(f"{start}[{'{},' * 20_000}{{}}]".encode(), mtime=0))
    with pytest.raises(Unreadable, match=r"event\.json\.gz: has more than 10,000 objects"):
        list(read_path(path))


def test_odd_flags_block_nothing_that_nobody_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "event.json"
    odd = [{**NAMED, "deleted": [1]}, {**NAMED, "to_ids": 1.0}, {**NAMED, "to_ids": {}}]
    path.write_text(json.dumps({"Event": {"uuid": "e", "published": [0], "Attribute": odd}}))
    assert [(a.deleted, a.to_ids, a.published) for a in read_path(path)] == [
        (True, False, False),
        (False, True, False),
        (False, False, False),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            (
                "# URLhaus\n# id,dateadded,url,url_status,last_online,threat,tags,link,reporter\n"
                '"1","2026-01-01 00:00:00","http://a.example/x","online","","malware","x","","me"\n'
            ),
            [("url", "http://a.example/x")],
        ),
        (
            (
                '# "first_seen_utc","ioc_id","ioc_value","ioc_type","threat_type"\n'
                '"2026-01-01", "1", "192.0.2.7:443", "ip:port", "botnet_cc"\n'
                '"2026-01-01", "2", "a.example", "domain", "botnet_cc"\n'
            ),
            [("ip-dst|port", "192.0.2.7|443"), ("domain", "a.example")],
        ),
        (
            (
                "# Feodo\nfirst_seen_utc,dst_ip,dst_port,c2_status,last_online,malware\n"
                "2026-01-01,192.0.2.7,8080,online,2026-01-01,Emotet\n"
            ),
            [("ip-dst|port", "192.0.2.7|8080")],
        ),
        (
            "# Listingdate,SHA1,Listingreason\n2026-01-01," + "ab" * 20 + ",C2\n",
            [("x509-fingerprint-sha1", "ab" * 20)],
        ),
        (
            (
                "first_seen,sha256_hash,md5_hash,sha1_hash\n"
                f"2026-01-01,{'ab' * 32},{'cd' * 16},{'ef' * 20}\n"
            ),
            [("sha256", "ab" * 32), ("md5", "cd" * 16), ("sha1", "ef" * 20)],
        ),
        (
            "Indicator type,Indicator,Description\nIPv4,192.0.2.7,x\nFileHash-MD5,"
            + "cd" * 16
            + ",y\nURL,http://a.example/,z\n",
            [("ip-dst", "192.0.2.7"), ("md5", "cd" * 16), ("url", "http://a.example/")],
        ),
        ("domain;comment\na.example;x\n", [("domain", "a.example")]),
    ],
)
def test_csv_with_named_columns(tmp_path: Path, text: str, found: list[tuple[str, str]]) -> None:
    path = tmp_path / "feed.csv"
    path.write_text(text)
    assert values(path) == found


def test_bad_quote_costs_its_row_alone(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    rows = 'url,x\nhttp://a.example/,1\nhttp://b.example/,"bad" quote\nhttp://c.example/,3\n'
    path.write_text(rows)
    found = list(read_path(path))
    assert [a.value for a in found if a.value] == ["http://a.example/", "http://c.example/"]
    assert [a.place for a in found if a.refused] == ["feed.csv:3"]
    path.write_text('url,x\nhttp://a.example/,1\nhttp://b.example/,"cut\n')
    with pytest.raises(Unreadable, match="cut off in a quoted field"):
        values(path)


def test_column_that_stands_twice_is_read_twice(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_text("url,ip,url\nhttp://a.example/,192.0.2.7,http://b.example/\n")
    expected = ["http://a.example/", "192.0.2.7", "http://b.example/"]
    assert [value for _, value in values(path)] == expected


def test_csv_without_known_columns_is_named(tmp_path: Path) -> None:
    path = tmp_path / "feed.csv"
    path.write_text("a,b\nx.example,2\n")
    with pytest.raises(Unreadable, match="no column whose name is known"):
        values(path)


def test_networks_of_spamhaus(tmp_path: Path) -> None:
    path = tmp_path / "drop.json"
    lines = ['{"cidr":"192.0.2.0/24","sblid":"SBL1","rir":"ripe"}',
             '{"cidr":"2001:db8::/32","sblid":"SBL2","rir":"ripe"}',
             '{"type":"metadata","timestamp":1,"size":2,"records":2}']  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    assert values(path) == [("ip-dst", "192.0.2.0/24"), ("ip-dst", "2001:db8::/32")]
    path.write_text("\n".join(lines[:2]) + "\n")
    with pytest.raises(Unreadable, match="cut off"):
        values(path)


def test_file_that_is_written_while_it_is_read_does_not_become_its_last_good(
    tmp_path: Path,
) -> None:
    """What was copied was what lay there afterwards, and was looked at by nobody."""
    path = tmp_path / "event.json"
    path.write_text(EVENT)
    copies = LastGood(tmp_path / "copies")
    faults: list[Unreadable] = []
    reading = copies.read(path, read_file, faults)
    assert next(reading).value == "a.example"
    path.write_text(EVENT[:40])
    assert not list(reading)
    assert not faults
    assert [a.value for a in copies.read(path, read_file, faults)] == ["a.example"]
    (fault,) = faults
    assert "event.json" in str(fault)


def test_file_that_grows_while_it_is_copied_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("a.example\nb.example\n")
    file = SourceFile(path)
    with path.open("a") as more:
        more.write("c.exa")
    with pytest.raises(Unreadable, match="changed while it was read; write it under another name"):
        file.copy_to(io.BytesIO())


def test_file_of_which_the_copy_would_fill_the_disk_is_refused_at_once(tmp_path: Path) -> None:
    """A sparse file of a tebibyte takes no room where it lies."""
    path = tmp_path / "list.txt"
    path.write_bytes(b"a.example\n" * 7000)
    os.truncate(path, 1 << 40)
    with pytest.raises(Unreadable, match=r"list\.txt: is larger than 1 GiB; split it"):
        SourceFile(path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_file_that_has_become_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(pack(b"a.example\n" * 3000))
    file = SourceFile(path)
    monkeypatch.setattr(source_file, "MAX_FILE_BYTES", 20_000)
    with pytest.raises(Unreadable, match="is larger than 1 GiB"):
        list(file.lines())
    if pack is bytes:
        with pytest.raises(Unreadable, match="is larger than 1 GiB"):
            file.copy_to(io.BytesIO())


def _opens_manifest(path: Path) -> None:
    with pytest.raises(Unreadable, match="is not a regular file"):
        read_manifest(path.parent, [])


def _opens_secret(path: Path) -> None:
    with pytest.raises(Unreadable, match="is not a regular file"):
        read_secret(path, "INKGATE_NO_SUCH_KEY", "a test")


def _opens_allow_list(path: Path) -> None:
    with pytest.raises(Unreadable, match="is not a regular file"):
        read_allow_list([path], Report(path.parent / "report.tsv"))


def _opens_warninglists(path: Path) -> None:
    with pytest.raises(Unreadable, match="is not a regular file"):
        compile_lists([path], path.with_name("keys"), path.with_name("small"))


def _opens_certificates_of_web(path: Path) -> None:
    with Deadline(5) as deadline, WebClient(deadline, timeout=5, verify=str(path)) as client:
        with pytest.raises(RemoteError, match="ca_file is no regular file"):
            list(client.download("https://192.0.2.1/", 10))
        with pytest.raises(RemoteError, match="ca_file is no regular file"):
            client.answer("https://192.0.2.1/", 10, {})


def _opens_certificates_of_misp(path: Path) -> None:
    misp = Connector("https://misp.example", "key", ca_file=path)
    with pytest.raises(Unreadable, match="is not a regular file"):
        misp.connect()


def _opens_certificates_of_database(path: Path) -> None:
    settings = MispMysqlSettings(host="192.0.2.1", ca_file=path.name)
    with pytest.raises(Unreadable, match="is not a regular file"):
        _options(settings, path.parent, 5)


@pytest.mark.parametrize(
    "opens",
    [_opens_manifest, _opens_secret, _opens_allow_list, _opens_warninglists,
     _opens_certificates_of_web, _opens_certificates_of_misp, _opens_certificates_of_database],
)  # fmt: skip
@pytest.mark.parametrize("make", [_pipe, _link_to_pipe, _device])
def test_nothing_that_a_source_names_is_opened_unless_it_is_a_regular_file(
    tmp_path: Path, opens: Callable[[Path], None], make: Callable[[Path], None]
) -> None:
    """A pipe called manifest.json held a refresh for ever."""
    path = tmp_path / "manifest.json"
    make(path)
    opens(path)
