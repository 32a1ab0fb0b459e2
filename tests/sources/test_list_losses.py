"""What lists lost in silence: sealed as something that matches nothing, or skipped as no value."""

from __future__ import annotations

import contextlib
import csv
import io
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from inkgate.rules.canonical import Refused, canonical_attribute
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.list_file import read_list
from inkgate.rules.sources.readers.lists.registry import DIALECTS, parse_line
from inkgate.rules.sources.readers.registry import read_path
from inkgate.rules.sources.readers.source_file import SourceFile


def read(tmp_path: Path, text: str, name: str = "list.txt") -> list[Attribute]:
    path = tmp_path / name
    path.write_text(text)
    return list(read_path(path))


def said(attributes: list[Attribute]) -> list[str]:
    """What was listed, in canonical form, `refused` and `skipped`."""
    return [_said(attribute) for attribute in attributes]


def _said(attribute: Attribute) -> str:
    if attribute.refused or attribute.skipped:
        return "refused" if attribute.refused else "skipped"
    try:
        parts = canonical_attribute(attribute.type, attribute.value).parts
    except Refused:
        return "refused"
    return f"{attribute.type} {'|'.join(parts)}"


# A number in a column of its own is no port: how often it was seen, a score, a year.
COUNTS = [
    ("192.0.2.1\t8", "ip-dst 192.0.2.1"),
    ("evil.example 2024", "domain evil.example"),
    ("evil.example,100", "domain evil.example"),
    ("evil.example;5", "domain evil.example"),
    ("evil.example | 100", "domain evil.example"),
    ("192.0.2.0/24 1;", "ip-dst 192.0.2.0/24"),
    ("192.0.2.1,443", "ip-dst 192.0.2.1"),
    ("192.0.2.0/24,100", "ip-dst 192.0.2.0/24"),
    ("192.0.2.0/24|443", "ip-dst|port 192.0.2.0/24|443"),
    ("192.0.2.0/24;SBL1", "ip-dst 192.0.2.0/24"),
    ("2001:db8::/32,100", "ip-dst 2001:db8::/32"),
    (f"192.0.2.1 {'9' * 5000}", "ip-dst 192.0.2.1"),
    ("192.0.2.1|443", "ip-dst|port 192.0.2.1|443"),
    ("192.0.2.1:443,100", "ip-dst|port 192.0.2.1|443"),
    ("evil.example:8080 5", "hostname|port evil.example|8080"),
    ("ip-dst|port\t192.0.2.1|443", "ip-dst|port 192.0.2.1|443"),
]


@pytest.mark.parametrize(("line", "expected"), COUNTS)
def test_count_is_not_taken_for_a_port(tmp_path: Path, line: str, expected: str) -> None:
    assert said(read(tmp_path, f"{line}\n" * 3)) == [expected] * 3


@pytest.mark.parametrize(
    "line",
    ["url=http://evil.example/a", "url: http://evil.example/a", "sshd: 192.0.2.77",
     "domain=evil.example", "domain: evil.example", "name: evil.example", "host=evil.example"],
)  # fmt: skip
def test_file_is_not_skipped_as_a_configuration(tmp_path: Path, line: str) -> None:
    assert said(read(tmp_path, f"{line}\n" * 4)) == ["refused"] * 4


CONFIGURATIONS = [
    ("dnsmasq", "address=/d.example", ["refused"]),
    ("dnsmasq", "address=/d.example/0.0.0.0 # seen", ["domain d.example"]),
    ("dnsmasq", "local=/d.example/", ["domain d.example"]),
    ("dnsmasq", "host-record=e.example,f.example,0.0.0.0,::,60",
     ["hostname e.example", "hostname f.example"]),
    ("dnsmasq", "host-record=e.example,192.0.2.1", ["refused"]),
    ("dnsmasq", "host-record=e.example", ["refused"]),
    ("dnsmasq", "cname=evil.example,sink.example", ["refused"]),
    ("dnsmasq", "bogus-nxdomain=192.0.2.1", ["ip-dst 192.0.2.1"]),
    ("dnsmasq", "bogus-nxdomain=192.0.2.0/24", ["ip-dst 192.0.2.0/24"]),
    ("dnsmasq", "url=http://evil.example/", ["refused"]),
    ("dnsmasq", "address=/#/0.0.0.0", ["refused"]),
    ("dnsmasq", "no-resolv", ["skipped"]),
    ("dnsmasq", "cache-size = 1000", ["skipped"]),
    ("dnsmasq", "server=192.0.2.1", ["skipped"]),
    ("dnsmasq", "server=/good.example/192.0.2.1", ["skipped"]),
    ("unbound", "local-zone: e.example", ["refused"]),
    ("unbound", 'local-zone: "e.example" blocked', ["refused"]),
    ("unbound", 'local-zone: "e.example" block_aaaa', ["refused"]),
    ("unbound", 'local-zone: "e.example." "static"', ["domain e.example"]),
    ("unbound", 'local-zone:"e.example" always_null # seen', ["domain e.example"]),
    ("unbound", 'local-zone: "e.example" transparent', ["skipped"]),
    ("unbound", "local-data: d.example A 0.0.0.0", ["hostname d.example"]),
    ("unbound", "local-data: 'd.example. 60 IN AAAA ::'", ["hostname d.example"]),
    ("unbound", 'local-data: "d.example A 192.0.2.1"', ["refused"]),
    ("unbound", 'local-data: "d.example CNAME sink.example."', ["refused"]),
    ("unbound", 'local-data: "d.example"', ["refused"]),
    ("unbound", 'local-data: "d.example TXT x"', ["skipped"]),
    ("unbound", "response-ip: 192.0.2.0/24 deny", ["ip-dst 192.0.2.0/24"]),
    ("unbound", "response-ip: 192.0.2.0/24", ["refused"]),
    ("unbound", "sshd: 192.0.2.77", ["refused"]),
    ("unbound", "do-ip6: no", ["skipped"]),
    ("unbound", "verbosity: 1", ["skipped"]),
    ("unbound", "forward-zone:", ["skipped"]),
]  # fmt: skip


@pytest.mark.parametrize(("dialect", "line", "expected"), CONFIGURATIONS)
def test_line_of_a_configuration(
    tmp_path: Path, dialect: str, line: str, expected: list[str]
) -> None:
    path = tmp_path / "list.conf"
    path.write_text(f"{line}\n")
    assert said(list(read_list(SourceFile(path), "", dialect))) == expected


def test_configuration_is_told_by_what_it_lists(tmp_path: Path) -> None:
    """Other options neither make a file one of dnsmasq's, nor keep it from being one."""
    text = "no-resolv\ncache-size=1\nuser=x\nport=53\naddress=/a.example/\nurl=http://b.example/\n"
    found = said(read(tmp_path, text + "address=/c.example/\n"))
    assert found == ["skipped"] * 4 + ["domain a.example", "refused", "domain c.example"]


# A URL in a list, with what may be further columns, or the rest of it.
URLS = [
    ('"http://e.example/y","malware"', "url e.example/y"),
    ('"http://e.example/y";"malware"', "url e.example/y"),
    ('"http://e.example/a,b","malware"', "url e.example/a,b"),
    ("'http://e.example/a,b',malware", "url e.example/a,b"),
    ("http://e.example/z,malware", "refused"),
    ("http://e.example/z,malware,2026-01-01", "refused"),
    ("http://e.example/z,malware,2026-01-01 10:00:00", "refused"),
    ("http://e.example/z, malware", "refused"),
    ("http://e.example/z;malware", "refused"),
    ("http://e.example/z|malware", "refused"),
    ("http://e.example/z|192.0.2.1", "refused"),
    ("http://e.example/z,http://f.example/", "refused"),
    ("http://e.example/z,f.example/b", "refused"),
    ("e.example/panel,Pony", "refused"),
    ("e.example/panel|Pony", "refused"),
    ("http://e.example/z%2Cmalware", "url e.example/z,malware"),
    ("http://e.example/z;jsessionid=1?a=2", "url e.example/z;jsessionid=1?a=2"),
    ("http://e.example/a,b/c", "url e.example/a,b/c"),
    ("http://e.example/z\tmalware", "url e.example/z"),
    ("http://e.example/z malware", "url e.example/z"),
    ("http://e.example/z 2026/01/01", "refused"),
    ("http://e.example/z 01/01/2026", "url e.example/z"),
    ("http://e.example/New Folder/x.exe", "refused"),
    ("http://e.example/a b?c=d", "refused"),
    ("http://e.example/a b.exe", "refused"),
    ("url\thttp://e.example/New Folder/x.exe", "url e.example/New%20Folder/x.exe"),
    ("url\thttp://e.example/z malware", "url e.example/z"),
    ('<a href="http://e.example/x">x</a>', "refused"),
    ("<http://e.example/x>", "url e.example/x"),
    ("http://e.example/x<br>", "refused"),
    ('http://e.example/x"', "url e.example/x"),
    ('"http://e.example/a,b"', "url e.example/a,b"),
]


@pytest.mark.parametrize(("line", "expected"), URLS)
def test_url_with_more_in_its_line(tmp_path: Path, line: str, expected: str) -> None:
    assert said(read(tmp_path, f"# x\n{line}\n")) == ["skipped", expected]


SOA = "SOA localhost. root.localhost. 1 2 3 4 5"
DUMP = f"""\
$ORIGIN .
$TTL 300
rpz.local IN {SOA}
 NS localhost.
$ORIGIN com.rpz.local.
evil-x CNAME .
*.evil-x CNAME .
$ORIGIN rpz.local.
foo.example CNAME .
32.1.2.0.192.rpz-ip CNAME .
$ORIGIN rpz-ip.rpz.local.
32.2.2.0.192 CNAME .
ok.example CNAME rpz-passthru.
$ORIGIN other.
x.example CNAME .
"""
ABSOLUTE = f"""\
rpz.local. 300 IN {SOA}
evil.example.rpz.local. 300 IN CNAME .
*.evil.example.RPZ.local. 300 IN CNAME .
\t300 IN CNAME .
\tIN CNAME .
@ CNAME .
$INCLUDE more.zone
"""
# Without a SOA record before it, the name of a zone is known from nothing.
UNKNOWN = f"$TTL 300\n@ {SOA}\n$ORIGIN com.rpz.local.\nevil-x\tCNAME .\n*.evil-x\tCNAME .\n"
KNOWN = f"$TTL 300\n$ORIGIN rpz.local.\n@ {SOA}\na.example CNAME .\nb.example.rpz.local. CNAME .\n"
RELATIVE = "$ORIGIN com\nevil-x CNAME .\nc.example. CNAME .\nevil-y A 127.0.0.1\n"
ZONES = [
    (DUMP, ["hostname evil-x.com", "domain evil-x.com", "hostname foo.example", "ip-dst 192.0.2.1",
            "ip-dst 192.0.2.2", "refused"]),
    (ABSOLUTE, ["hostname evil.example", "domain evil.example", *["refused"] * 4]),
    (UNKNOWN, ["refused", "refused"]),
    (KNOWN + RELATIVE, ["hostname a.example", "hostname b.example", "hostname evil-x.com",
                        "refused", "hostname evil-y.com"]),
    (f"@ {SOA}\n{RELATIVE}", ["hostname evil-x.com", "refused", "hostname evil-y.com"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), ZONES)
def test_names_of_a_zone_are_whole(tmp_path: Path, text: str, expected: list[str]) -> None:
    path = tmp_path / "zone.rpz"
    path.write_text(text)
    found = said(list(read_list(SourceFile(path), "", "rpz")))
    assert [line for line in found if line != "skipped"] == expected
    assert len(found) == text.count("\n")


def test_quoted_cell_makes_no_remark(tmp_path: Path) -> None:
    rows = [["tag", "domain", "note"], ["#emotet", "a.example", "x"], ["x", "b.example", "a\n#b"]]
    made = io.StringIO()
    csv.writer(made, quoting=csv.QUOTE_ALL).writerows(rows)
    text = made.getvalue() + '#foo,"c.example,x\n # "x\nx,d.example,x\n'
    found = said(read(tmp_path, text, "feed.csv"))
    assert found == ["skipped", "domain a.example", "domain b.example", "refused", "skipped",
                     "domain d.example"]  # fmt: skip


NAMES = [
    ("!READ_ME!.txt", "filename !READ_ME!.txt"),
    ("#HOW_TO#.txt", "filename #HOW_TO#.txt"),
    (";x.hta", "filename ;x.hta"),
    ("//x", "filename //x"),
    ("x.exe # seen", "filename x.exe"),
    ("invoice #12.exe", "refused"),
    ("# a remark", "skipped"),
    ("#", "skipped"),
    ("## a remark", "skipped"),
    ("\x1c", "refused"),
]


@pytest.mark.parametrize(("line", "expected"), NAMES)
def test_name_of_a_file_may_begin_with_a_remarks_sign(
    tmp_path: Path, line: str, expected: str
) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"{line}\n")
    assert said(list(read_list(SourceFile(path), "filename"))) == [expected]


def test_what_stands_behind_much_white_space_is_refused(tmp_path: Path) -> None:
    blank = " " * 20_000
    text = f"{blank}a.example\nb.example{blank}c.example\n{blank}\n# {blank}\nd.example\n"
    assert said(read(tmp_path, text)) == [*["refused"] * 3, "skipped", "domain d.example"]
    typed = list(read_list(SourceFile(tmp_path / "list.txt"), "domain"))
    assert said(typed) == [*["refused"] * 3, "skipped", "domain d.example"]


def test_slashes_begin_a_remark_or_a_url(tmp_path: Path) -> None:
    text = "// a remark\n//remark\n//e.example/x\nb.example\n"
    expected = ["skipped", "skipped", "refused"]
    assert said(read(tmp_path, text)) == [*expected, "domain b.example"]
    typed = list(read_list(SourceFile(tmp_path / "list.txt"), "url"))
    assert said(typed) == [*expected, "url b.example/"]


@pytest.mark.parametrize("misp_type", ["url", "link", "domain", "ip-dst", "filename|md5"])
@pytest.mark.parametrize("line", ["\x1c", "\x85", "\u2028x", "x"])
def test_odd_white_space_raises_nothing(tmp_path: Path, misp_type: str, line: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"{line}\n", encoding="utf-8")
    assert list(read_list(SourceFile(path), misp_type))
    assert list(read_list(SourceFile(path)))


# Lines are made of a beginning, of one piece again and again, and of an end that spoils it.
BEGINNINGS = ["", "a", "a@", "a ", "[", "http://", "http://a.a/", "address=/", "||", "|http://",
              'local-data: "a A ', "local-zone: ", "a CNAME ", "0.0.0.0 ", '"', "$"]  # fmt: skip
PIECES = [":", ".", "a.", "a:", "0.", "00.", "@", "a@", "a@a.", " ", "\t", "[", "[ ", "( ", "{",
          '"', "'", "a ", "\\.", "\\", "/", "|", "|a.a", ",", ";a", "%25", "-", "<a", "(a|", "1",
          "=", "=<a ", ".rpz-ip", "\u200b", " #", "]."]  # fmt: skip
ENDS = ["", "@", "!", "g"]
# Seconds: less is too little to compare.
ENOUGH = 0.001
READERS: dict[str, Callable[[str], object]] = {
    **{d.name: lambda text, d=d: parse_line(d, text) for d in DIALECTS},  # type: ignore[misc]
    **{
        name: lambda text, name=name: canonical_attribute(name, text)  # type: ignore[misc]
        for name in ("domain", "ip-dst", "url", "email", "AS", "hostname|port")
    },
}


def seconds(read: Callable[[str], object], text: str) -> float:
    """The processor's time of one reading: the least of some, as others use it, too."""
    found = []
    while len(found) < 3 and min(found, default=ENOUGH) >= ENOUGH:
        began = time.process_time()
        with contextlib.suppress(Refused):
            read(text)
        found.append(time.process_time() - began)
    return min(found)


@pytest.mark.parametrize("name", READERS)
def test_time_grows_as_the_length_of_a_line(name: str) -> None:
    """Four times the length, four times the time: 16 times it was for `a@a.a.a`, 64 for `::::`."""
    for beginning in BEGINNINGS:
        for piece in PIECES:
            for end in ENDS:
                short, long = (
                    f"{beginning}{piece * (size // len(piece))}{end}" for size in (300, 1200)
                )
                taken = seconds(READERS[name], long)
                if taken > ENOUGH:
                    ratio = taken / seconds(READERS[name], short)
                    assert ratio < 9, (beginning, piece, end, ratio)
