"""`inkgate-rules match` on log files and standard input, as users run it."""

from __future__ import annotations

import bz2
import contextlib
import fcntl
import gzip
import json
import lzma
import os
import signal
import subprocess
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from support.installation import BIN, Installation, attribute
from support.logs import access_line
from support.waiting import wait_until

pytestmark = pytest.mark.slow

LISTED = (
    ("http://www.listed.example/x", "198.51.100.1", "domain"),
    ("http://files.example/bad?session=7", "198.51.100.2", "url"),
    ("http://clean.example/", "198.51.100.66", "ip-dst"),
    ("http://ports.example:8443/", "198.51.100.67", "ip-dst|port"),
    ("https://pair.example/", "198.51.100.68", "domain|ip"),
)


@pytest.fixture
def listed(installation: Installation) -> Installation:
    installation.add(
        "listed",
        attribute("domain", "listed.example"),
        attribute("url", "http://files.example/bad"),
        attribute("ip-dst", "198.51.100.66"),
        attribute("ip-dst|port", "198.51.100.67|8443"),
        attribute("domain|ip", "pair.example|198.51.100.68"),
        attribute("ip-src", "203.0.113.0/24"),
        attribute("user-agent", "EvilAgent/1.0"),
        attribute("md5", "ab" * 16),
        attribute("filename|sha256", "x.exe|" + "cd" * 32),
    )
    installation.configure("domain_ip_by_domain = false")
    installation.refresh()
    return installation


def log_text(clean: int = 200) -> str:
    lines = [access_line(f"http://site{n % 50}.example/{n}", number=n) for n in range(clean)]
    for place, (url, server, _) in enumerate(LISTED):
        lines.insert(place * 40, access_line(url, server=server, number=place))
    return "\n".join(lines) + "\n"


def found(result: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


WRITERS: dict[str, Callable[[bytes], bytes]] = {
    "log": lambda data: data,
    "log.gz": gzip.compress,
    "log.xz": lzma.compress,
    "log.bz2": bz2.compress,
    "log.zst": zstandard.ZstdCompressor().compress,
    # Logs are concatenated, and so are compressed ones.
    "two.gz": lambda data: gzip.compress(data[:5000]) + gzip.compress(data[5000:]),
    "two.zst": lambda data: (
        zstandard.ZstdCompressor().compress(data[:5000])
        + zstandard.ZstdCompressor().compress(data[5000:])
    ),
}


@pytest.mark.parametrize("name", WRITERS)
def test_files_plain_and_compressed(listed: Installation, name: str) -> None:
    path = listed.folder / name
    path.write_bytes(WRITERS[name](log_text().encode()))
    result = listed.run("inkgate-rules", "match", "--json", "--jobs", "1", str(path))
    assert result.returncode == 0, result.stderr
    assert [(hit["line"], hit["class"]) for hit in found(result)] == [
        (place * 40 + 1, kind) for place, (_, _, kind) in enumerate(LISTED)
    ]
    assert found(result)[0]["time"] == "2023-11-14T22:13:20.000Z"
    assert "205 lines" in result.stderr


def test_two_processes_say_the_same_in_the_same_order(listed: Installation) -> None:
    path = listed.folder / "access.log"
    path.write_text(log_text(20_000) * 3)
    one, two = (
        listed.run("inkgate-rules", "match", "--json", "--jobs", jobs, str(path))
        for jobs in ("1", "2")
    )
    assert one.returncode == two.returncode == 0, two.stderr
    assert one.stdout == two.stdout
    assert len(found(one)) == 3 * len(LISTED)


@pytest.mark.parametrize("squeeze", [lambda data: data, gzip.compress])
def test_standard_input(listed: Installation, squeeze: Callable[[bytes], bytes]) -> None:
    result = subprocess.run(
        [BIN / "inkgate-rules", "--config", listed.config, "match", "--json", "--jobs", "1", "-"],
        input=squeeze(log_text().encode()),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == len(LISTED)


@pytest.mark.parametrize("squeeze", [lambda data: data, gzip.compress])
@pytest.mark.parametrize("first", [1, 2000])
def test_a_named_pipe(listed: Installation, squeeze: Callable[[bytes], bytes], first: int) -> None:
    path, data = listed.folder / "pipe", squeeze(log_text().encode())
    os.mkfifo(path)
    command = [BIN / "inkgate-rules", "--config", listed.config, "match", "--json", "--jobs", "1"]
    with subprocess.Popen(
        [*command, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        with path.open("wb", buffering=0) as pipe:
            pipe.write(data[:first])
            # The first piece by itself: the reader has taken it before the rest comes.
            wait_until(lambda: is_empty(pipe.fileno()), "the first piece is read")
            pipe.write(data[first:])
        out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert len(out.splitlines()) == len(LISTED)


def is_empty(fd: int) -> bool:
    """Whether a pipe holds nothing that was not read."""
    return fcntl.ioctl(fd, termios.FIONREAD, bytes(4)) == bytes(4)


def test_exit_status_is_that_of_grep(listed: Installation) -> None:
    clean = listed.folder / "clean.log"
    clean.write_text(access_line("http://clean.example/") + "\n")
    assert listed.run("inkgate-rules", "match", "--jobs", "1", str(clean)).returncode == 1
    assert listed.run("inkgate-rules", "match", "--jobs", "1", "/nowhere/x").returncode == 2
    other = listed.folder / "other.log"
    other.write_text("nothing known\n")
    result = listed.run("inkgate-rules", "match", "--jobs", "1", str(other))
    assert result.returncode == 2
    assert "--format" in result.stderr


def test_one_bad_file_does_not_hide_the_others(listed: Installation) -> None:
    good = listed.folder / "good.log"
    good.write_text(log_text())
    cut = listed.folder / "cut.log.gz"
    cut.write_bytes(gzip.compress((log_text() * 50).encode())[:2000])
    result = listed.run("inkgate-rules", "match", "--json", "--jobs", "1", str(cut), str(good))
    assert result.returncode == 2
    assert len([h for h in found(result) if h["source"] == str(good)]) == len(LISTED)
    assert "cut.log.gz" in result.stderr


def test_lines_that_cannot_be_read_are_counted_and_placed(listed: Installation) -> None:
    path = listed.folder / "access.log"
    text = log_text().splitlines()
    text[9:9] = ["garbage", "\udcff" * 40]
    path.write_bytes("\n".join(text).encode("utf-8", "surrogateescape"))
    result = listed.run("inkgate-rules", "match", "--json", "--jobs", "1", str(path))
    assert result.returncode == 0
    assert "2 lines could not be read, the first is line 10" in result.stderr
    assert len(found(result)) == len(LISTED)


@pytest.mark.parametrize("auto", [True, False])
def test_byte_order_marks_lose_no_line(listed: Installation, auto: bool) -> None:
    path = listed.folder / "access.log"
    mark = b"\xef\xbb\xbf"
    # Two logs of Windows, one behind the other.
    line = access_line("http://listed.example/").encode()
    path.write_bytes(mark + line + b"\r\n" + mark + line + b"\r\n")
    options = () if auto else ("--format", "squid")
    result = listed.run("inkgate-rules", "match", "--json", "--jobs", "1", *options, str(path))
    assert [hit["line"] for hit in found(result)] == [1, 2]
    assert "could not be read" not in result.stderr


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("is_packed", [True, False])
def test_a_log_in_utf_16_is_read(listed: Installation, codec: str, is_packed: bool) -> None:
    # PowerShell writes so. More than one block, so that one ends within a character.
    text = "\ufeff" + "\r\n".join([access_line("http://clean.example/\u00e9")] * 3000)
    data = f"{text}\r\n{access_line('http://listed.example/')}\r\n".encode(codec)
    path = listed.folder / "access.log"
    path.write_bytes(gzip.compress(data) if is_packed else data)
    result = listed.run("inkgate-rules", "match", "--json", "--jobs", "1", str(path))
    assert [hit["line"] for hit in found(result)] == [3001]
    assert "could not be read" not in result.stderr
    if not is_packed:
        result = listed.run("inkgate-rules", "match", "--follow", str(path))
        assert (result.returncode, "is in UTF-16" in result.stderr) == (2, True)


@pytest.mark.parametrize("name", [name for name in WRITERS if name != "log"])
def test_all_that_can_be_unpacked_before_a_fault_is_matched(
    listed: Installation, name: str
) -> None:
    line = access_line("http://listed.example/") + "\n"
    data = WRITERS[name]((line * 500).encode()) + b"no stream"
    path = listed.folder / name
    path.write_bytes(data)
    result = listed.run("inkgate-rules", "match", "--json", "--jobs", "1", str(path))
    assert result.returncode == 2
    assert len(found(result)) == 500
    assert f"{name}: cannot be decompressed" in result.stderr


def test_a_log_of_unknown_fields_is_an_error_that_says_so(listed: Installation) -> None:
    path = listed.folder / "unknown.json"
    path.write_text('{"adresse": "198.51.100.66", "ts": 1700000000, "n": 1}\n' * 3)
    result = listed.run("inkgate-rules", "match", "--jobs", "1", str(path))
    assert result.returncode == 2
    assert "unknown.json: no line shows anything that could be listed" in result.stderr
    path.write_text('{"n": 1}\n{"url": "http://clean.example/"}\n')
    result = listed.run("inkgate-rules", "match", "--jobs", "1", str(path))
    assert (result.returncode, "no line shows" in result.stderr) == (1, False)


def test_urls_without_their_queries_are_worth_a_warning(listed: Installation) -> None:
    path = listed.folder / "access.log"
    path.write_text("".join(access_line(f"http://site{n}.example/a?") + "\n" for n in range(3)))
    result = listed.run("inkgate-rules", "match", "--jobs", "1", str(path))
    assert "strip_query_terms off" in result.stderr
    with path.open("a") as file:
        file.write(access_line("http://other.example/a?b=1") + "\n")
    result = listed.run("inkgate-rules", "match", "--jobs", "1", str(path))
    assert "strip_query_terms" not in result.stderr


@pytest.mark.parametrize("text", ["squid", '%ts %rm %ru %<a "%{Referer}>h"'])
def test_what_is_known_to_be_clean_was_seen_too(listed: Installation, text: str) -> None:
    # The second log's lines are all passed over but one, because the first has them, too.
    urls = [f"http://site{n}.example/a?b=1" for n in range(3)]
    if text == "squid":
        lines = [access_line(url) for url in urls]
        odd = [access_line("error:transaction-end-before-headers", client="-", server="-")]
        cut = access_line("http://other.example/a?")
    else:
        lines = [f'1767225600 GET {url} 192.0.2.1 "-"' for url in urls]
        odd = ['1767225600 - error:transaction-end-before-headers - "-"']
        cut = '1767225600 GET http://other.example/a? - "http://clean.example/?q=1"'
    one, two, three, four = (listed.folder / f"{name}.log" for name in "abcd")
    one.write_text("\n".join(lines) + "\n")
    bare = [line.replace("?b=1", "") for line in lines]
    two.write_text("\n".join([*bare, "", *odd]) + "\n")
    four.write_text("\n".join([*lines, cut]) + "\n")
    three.write_text("\n".join([*odd, "", cut.replace("other", "site1")] * 2) + "\n")
    command = ("inkgate-rules", "match", "--jobs", "1", "--format", text)
    for paths in ((one, two, four), (two,)):
        result = listed.run(*command, *map(str, paths))
        assert (result.returncode, "no line shows" in result.stderr) == (1, False), paths
        assert "strip_query_terms" not in result.stderr
    # What no line shows is said all the same, and so is what only clean lines show.
    result = listed.run(*command, str(one), str(three))
    assert f"{three}: the URLs have no queries" in result.stderr
    assert f"{one}: the URLs" not in result.stderr
    three.write_text(cut + "\n")
    four.write_text("\n".join([cut, bare[0].replace("site0", "new")]) + "\n")
    result = listed.run(*command, str(three), str(four))
    assert result.stderr.count("the URLs have no queries") == 2
    three.write_text("\n".join([*odd, ""] * 3) + "\n")
    result = listed.run(*command, str(one), str(three))
    assert f"{three}: no line shows" in result.stderr
    assert result.returncode == 2


def test_client_agent_and_digests(listed: Installation) -> None:
    path = listed.folder / "mixed.json"
    records: list[dict[str, object]] = [
        {"source.ip": "203.0.113.9", "url": "http://clean.example/"},
        {"user_agent": "EvilAgent/1.0", "url": "http://clean.example/"},
        {"md5": "AB" * 16},
        {"filename": "x.exe", "sha256": "cd" * 32},
        {"query": "deep.listed.example", "answers": ["192.0.2.1", "198.51.100.66"]},
        {"query": "pair.example", "answers": ["198.51.100.68"]},
        {"id.resp_h": "198.51.100.67", "id.resp_p": 8443},
        {"ip-dst|port": "198.51.100.67|8443"},
        {"server_name": "listed.example"},
        {"query": "clean.example", "answers": ["192.0.2.1"], "md5": "ef" * 16},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    result = listed.run("inkgate-rules", "match", "--json", "--jobs", "1", str(path))
    assert [(hit["line"], hit["class"]) for hit in found(result)] == [
        (1, "ip-src"),
        (2, "user-agent"),
        (3, "md5"),
        (4, "filename|sha256"),
        (5, "domain"),
        (5, "ip-dst"),
        (6, "domain|ip"),
        (7, "ip-dst|port"),
        (8, "ip-dst|port"),
        (9, "domain"),
    ]


def test_answers_in_lists_and_fields_beside_a_line(listed: Installation) -> None:
    path = listed.folder / "events.json"
    message = access_line("http://www.listed.example/x")
    answers = [{"type": "CNAME", "data": "a.listed.example"}, {"data": "198.51.100.68"}]
    records: list[dict[str, object]] = [
        {"dns": {"question": {"name": "pair.example"}, "answers": answers}},
        {"dns": {"rrname": "clean.example", "answers": [{"rdata": "198.51.100.66"}]}},
        {"message": message, "url": "http://www.listed.example/y", "md5": "ab" * 16},
        {"message": access_line("http://clean.example/"), "source.ip": "203.0.113.9"},
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    result = listed.run("inkgate-rules", "match", "--json", "--jobs", "1", str(path))
    assert [(hit["line"], hit["class"], hit["observed"]) for hit in found(result)] == [
        (1, "domain", "pair.example"),
        (1, "domain|ip", "pair.example"),
        (2, "ip-dst", "clean.example"),
        # The rule for the name is told once.
        (3, "domain", "http://www.listed.example/x"),
        (3, "md5", "http://www.listed.example/y"),
        (4, "ip-src", "http://clean.example/"),
    ]
    assert found(result)[5]["client"] == "203.0.113.9"
    assert found(result)[5]["time"] == "2023-11-14T22:13:20.000Z"


def test_what_was_clean_once_does_not_hide_what_is_listed(listed: Installation) -> None:
    path = listed.folder / "access.log"
    lines = [access_line("http://clean.example/", server="192.0.2.1")] * 3
    lines += [access_line("http://clean.example/", server="198.51.100.66")]
    lines += [access_line("http://clean.example/", client="203.0.113.5")]
    lines += [access_line("http://files.example/good"), access_line("http://files.example/bad")]
    lines += [access_line("http://ports.example/", server="198.51.100.67")]
    lines += [access_line("http://ports.example:8443/", server="198.51.100.67")]
    lines += [access_line("ports.example:8443", server="198.51.100.67", method="CONNECT")]
    path.write_text("\n".join(lines * 2) + "\n")
    result = listed.run("inkgate-rules", "match", "--json", "--jobs", "1", str(path))
    expected = [(4, "ip-dst"), (5, "ip-src"), (7, "url"), (9, "ip-dst|port"), (10, "ip-dst|port")]
    assert [(hit["line"], hit["class"]) for hit in found(result)] == expected + [
        (line + 10, kind) for line, kind in expected
    ]


def test_values_are_derived_once_by_all_processes_and_runs(listed: Installation) -> None:
    # Gates that no name passes by chance: such a one costs its pair with an address more.
    listed.configure("epsilon = 0.0001")
    listed.refresh()
    path = listed.folder / "access.log"
    path.write_text(
        "".join(access_line(f"http://site{n % 700}.example/") + "\n" for n in range(9000))
    )
    first = listed.run("inkgate-rules", "match", "--jobs", "3", str(path))
    again = listed.run("inkgate-rules", "match", "--jobs", "2", str(path))
    assert again.returncode == 1
    assert " 0 keys derived" in again.stderr
    alone = Installation(listed.config.read_text())
    try:
        # Another installation, whose one process derives what must be derived.
        for event in listed.events.iterdir():
            (alone.events / event.name).write_bytes(event.read_bytes())
        alone.refresh()
        count = alone.run("inkgate-rules", "match", "--jobs", "1", str(path))
    finally:
        alone.close()
    assert abs(derived(first) - derived(count)) < 15
    assert derived(first) >= 700


def derived(result: subprocess.CompletedProcess[str]) -> int:
    return int(result.stderr.split(" keys derived")[0].rsplit(" ", 1)[1].replace(",", ""))


def test_helper_and_matching_have_caches_of_their_own(listed: Installation) -> None:
    path = listed.folder / "access.log"
    path.write_text(log_text())
    listed.run("inkgate-rules", "match", "--jobs", "1", str(path))
    assert not (listed.folder / "run" / "keys").exists()
    assert (listed.folder / "run" / "keys-match").stat().st_mode & 0o777 == 0o700


def test_sightings_have_the_time_of_the_line(listed: Installation) -> None:
    path = listed.folder / "access.log"
    path.write_text(log_text())
    result = listed.run("inkgate-rules", "match", "--jobs", "2", "--sightings", str(path))
    assert result.returncode == 0, result.stderr
    lines = listed.run("inkgate-sightings", "list", "--json").stdout.splitlines()
    sightings = [json.loads(line) for line in lines]
    assert [s["class"] for s in sightings] == [kind for *_, kind in LISTED]
    assert sightings[1]["time"] == "2023-11-14T22:13:21.000Z"
    assert sightings[0]["client"] == "192.0.2.9"
    assert len({s["incident"] for s in sightings}) == len(LISTED)


class Following:
    """A `match --follow` under way."""

    def __init__(self, installation: Installation, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [
                BIN / "inkgate-rules",
                "--config",
                installation.config,
                "match",
                "--json",
                "--jobs",
                "1",
                "--follow",
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout
        os.set_blocking(self.process.stdout.fileno(), False)
        self.text = ""

    def lines(self) -> int:
        assert self.process.stdout
        self.text += (self.process.stdout.read() or b"").decode()
        return self.text.count("\n")

    def wait(self, count: int) -> None:
        wait_until(lambda: self.lines() >= count, f"{count} matches")

    def wait_at(self, path: Path, offset: int) -> None:
        """Wait until it has read a file up to an offset."""
        wait_until(lambda: self._offset(path) == offset, f"{path} read up to {offset}")

    def _offset(self, path: Path) -> int | None:
        for fd in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if fd.samefile(path):
                    words = (fd.parents[1] / "fdinfo" / fd.name).read_text().split()
                    return int(words[words.index("pos:") + 1])
        return None

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self.lines()
        return status


def bad(number: int) -> str:
    return access_line(f"http://listed.example/{number}", number=number) + "\n"


def test_follow_over_rename_and_truncation(listed: Installation) -> None:
    path, other = listed.folder / "access.log", listed.folder / "other.log"
    other.write_text(bad(0))
    following = Following(listed, str(path), str(other))
    try:
        # The first of the two was looked for before, and was not there.
        following.wait(1)
        path.write_text(bad(1))
        following.wait(2)
        with path.open("a") as file:
            # A line in two pieces is one line.
            file.write(bad(2)[:20])
            file.flush()
            following.wait_at(path, path.stat().st_size)
            file.write(bad(2)[20:])
        following.wait(3)
        path.rename(path.with_suffix(".1"))
        with path.with_suffix(".1").open("a") as file:
            file.write(bad(3))
        path.write_text(bad(4))
        following.wait(5)
        with path.open("r+") as file:
            file.truncate(0)
        following.wait_at(path, 0)
        with path.open("a") as file:
            file.write(bad(5))
        following.wait(6)
        assert following.end() == 0
    finally:
        following.process.kill()
        following.process.communicate()
    seen = [json.loads(line)["observed"] for line in following.text.splitlines()]
    assert seen == [f"http://listed.example/{n}" for n in range(6)]


def test_follow_takes_new_rules(listed: Installation, tmp_path: Path) -> None:
    path = listed.folder / "access.log"
    path.write_text(bad(1))
    following = Following(listed, str(path))
    try:
        following.wait(1)
        listed.add("later", attribute("domain", "later.example"))
        listed.refresh()

        def matches_later() -> bool:
            with path.open("a") as file:
                file.write(access_line("http://later.example/") + "\n")
            return following.lines() > 1

        wait_until(matches_later, "a match in the new rules")
        assert following.end() == 0
    finally:
        following.process.kill()
        following.process.communicate()
