"""Lists of every dialect, typed and guessed, as they lie about in the wild."""

from __future__ import annotations

import bz2
import gzip
import lzma
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import msgspec
import pytest
import zstandard

from inkgate.config.errors import Unreadable
from inkgate.config.settings_file import SettingsError
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.readers.list_file import read_list
from inkgate.rules.sources.readers.lists import registry
from inkgate.rules.sources.readers.lists.guess import guess_type
from inkgate.rules.sources.readers.registry import read_path
from inkgate.rules.sources.readers.source_file import SourceFile
from inkgate.rules.sources.typed_list import ListSettings
from support.installation import Installation, attribute

LINES = [
    ("bad.example", "domain", "bad.example"),
    (".sub.bad.example", "domain", ".sub.bad.example"),
    ("bad[.]example", "domain", "bad[.]example"),
    ("0.0.0.0 hosts.example", "domain", "hosts.example"),
    ("127.0.0.1\thosts.example", "domain", "hosts.example"),
    ("192.0.2.7", "ip-dst", "192.0.2.7"),
    ("192.0.2.0/24", "ip-dst", "192.0.2.0/24"),
    ("2001:db8::7", "ip-dst", "2001:db8::7"),
    ("192.0.2.7:8080", "ip-dst|port", "192.0.2.7|8080"),
    ("[2001:db8::7]:8080", "ip-dst|port", "2001:db8::7|8080"),
    ("bad.example:8080", "hostname|port", "bad.example|8080"),
    ("http://bad.example/x", "url", "http://bad.example/x"),
    ("bad.example/x", "url", "bad.example/x"),
    ("hxxp://bad[.]example/x", "url", "hxxp://bad[.]example/x"),
    ("AB" * 16, "md5", "AB" * 16),
    ("ab" * 20, "sha1", "ab" * 20),
    ("ab" * 32, "sha256", "ab" * 32),
    ("someone@bad.example", "email", "someone@bad.example"),
    ("user-agent\tEvil Bot/1.0", "user-agent", "Evil Bot/1.0"),
    ("bad.example # seen last week", "domain", "bad.example"),
    ("what is this", "", ""),
]


def listed(path: Path, misp_type: str = "") -> list[Attribute]:
    """What a list says, without its remarks."""
    return [a for a in read_list(SourceFile(path), misp_type) if not a.skipped]


@pytest.mark.parametrize(("line", "kind", "value"), LINES)
def test_line(tmp_path: Path, line: str, kind: str, value: str) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(f"\ufeff# a remark\r\n\r\n; another\n{line}\r\n".encode())
    (attribute,) = listed(path)
    assert (attribute.type, attribute.value) == (kind, value)
    assert (attribute.source, attribute.place, attribute.to_ids) == ("list.txt", "list.txt:4", True)


def test_given_type_is_not_guessed(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("bad.example\n")
    (attribute,) = listed(path, "hostname")
    assert attribute.type == "hostname"


# What people write around a value, and what then counts.
AROUND = [
    ("203.0.113.0/26 ; SBL1", ["ip-dst 203.0.113.0/26"]),
    ("198.51.100.96/255.255.255.254", ["ip-dst 198.51.100.96/31"]),
    ("198.51.100.96 255.255.255.254", ["ip-dst 198.51.100.96/31"]),
    ("198.51.100.0/0.0.0.255", ["ip-dst 198.51.100.0/24"]),
    ("192.0.2.0 - 192.0.2.255", ["ip-dst 192.0.2.0/24"]),
    ("192.0.2.254-192.0.3.1", ["ip-dst 192.0.2.254/31", "ip-dst 192.0.3.0/31"]),
    ("2001:db8::-2001:db8::ff", ["ip-dst 2001:db8::/120"]),
    ("192.0.2.7 # seen", ["ip-dst 192.0.2.7"]),
    ("192.0.2.7 malware", ["ip-dst 192.0.2.7"]),
    ("http://a.example/x malware", ["url http://a.example/x"]),
    ("http://a.example/x#fragment", ["url http://a.example/x#fragment"]),
    ("http://a.example/x # seen", ["url http://a.example/x"]),
    ("a.example#seen", ["domain a.example"]),
    ("a.example // seen", ["domain a.example"]),
    ("a.example\tmalware family", ["domain a.example"]),
    ("a.example,malware,2026-01-01 10:00:00", ["domain a.example"]),
    ('"a.example","malware"', ["domain a.example"]),
    ("192.0.2.7|443", ["ip-dst|port 192.0.2.7|443"]),
    ("192.0.2.7|443 malware", ["ip-dst|port 192.0.2.7|443"]),
    ("192.0.2.7:443 malware", ["ip-dst|port 192.0.2.7|443"]),
    ("192.0.2.7|70000", ["ip-dst 192.0.2.7"]),
    ("a.example|443", ["hostname|port a.example|443"]),
    ("a.example,", ["domain a.example"]),
    ("ab" * 16 + "  evil.exe", ["md5 " + "ab" * 16]),
    ("192.0.2.4-5", ["ip-dst 192.0.2.4/31"]),
    ("url\thttp://a.example/x malware", ["url http://a.example/x"]),
    ("127[.]0[.]0[.]1", ["ip-dst 127[.]0[.]0[.]1"]),
    ("192[.]0[.]2[.]7:8080", ["ip-dst|port 192.0.2.7|8080"]),
    ("domain\ta.example", ["domain a.example"]),
    ("AS\tAS64496", ["AS AS64496"]),
    ("user-agent\tBot (X11 ; x) // 1 !", ["user-agent Bot (X11 ; x) // 1 !"]),
    ("ip-dst\t192.0.2.0-192.0.2.1", ["ip-dst 192.0.2.0/31"]),
    ("0.0.0.0 a.example b.example", ["domain a.example", "domain b.example"]),
    ("0 a.example", ["domain a.example"]),
    ("::1 a.example", ["domain a.example"]),
    ("127.0.0.1 a.example#remark", ["domain a.example"]),
    ("127.0.0.1 a.example b.example # remark c.example", ["domain a.example", "domain b.example"]),
]
REFUSED = [
    "malware family\tevil.example",
    "evil family\tx",
    "a.example b.example",
    "a.example 192.0.2.7",
    "203.0.113.9 a.example",
    "2026-01-01 a.example",
    "1.2.3",
    "and/or",
    "a.example/x b.example/y",
    "http://a.example/my file.exe",
    "what is this",
    "/just/a/path.php",
    "http://a.example/x/*",
    "a.example/*",
]
OWN = ["127.0.0.1 localhost", "::1 ip6-localhost ip6-loopback", "255.255.255.255 broadcasthost",
       "fe80::1%lo0 localhost", "0.0.0.0 0.0.0.0"]  # fmt: skip


@pytest.mark.parametrize(("line", "values"), AROUND)
def test_what_stands_around_a_value(tmp_path: Path, line: str, values: list[str]) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"first.example\n{line}\nlast.example\n")
    found = [a for a in listed(path) if a.place == "list.txt:2"]
    assert [f"{a.type} {a.value}" for a in found] == values
    assert [a.is_more for a in found] == [False] + [True] * (len(values) - 1)


@pytest.mark.parametrize("line", REFUSED)
def test_line_that_is_not_understood_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"first.example\n{line}\n")
    (found,) = (a for a in listed(path) if a.place == "list.txt:2")
    assert found.refused
    assert (found.type, found.value) == ("", "")


@pytest.mark.parametrize("line", OWN)
def test_own_names_of_a_machine_are_no_indicators(tmp_path: Path, line: str) -> None:
    path = tmp_path / "hosts.txt"
    path.write_text(f"0.0.0.0 first.example\n{line}\n")
    assert [a.value for a in listed(path)] == ["first.example"]


DIALECTS = {
    "hosts": (
        "# blocked\n127.0.0.1 localhost\n0.0.0.0 a.example\n0.0.0.0 b.example c.example\n",
        ["domain a.example", "domain b.example", "domain c.example"],
    ),
    "adblock": (
        (
            "[Adblock Plus]\n! Title: x\n||a.example^\n@@||good.example^\n||b.example^$important\n"
            "||192.0.2.7^\n|http://c.example/x|\n||d.example^$third-party\ne.example##.banner\n"
        ),
        ["domain a.example", "domain b.example", "ip-dst 192.0.2.7", "url http://c.example/x"],
    ),
    "dnsmasq": (
        (
            "# x\naddress=/a.example/0.0.0.0\naddress=/b.example/c.example/#\nlocal=/d.example/\n"
            "server=/good.example/192.0.2.1\nno-resolv\ncache-size=1000\n"
        ),
        ["domain a.example", "domain b.example", "domain c.example", "domain d.example"],
    ),
    "unbound": (
        (
            'server:\n  local-zone: "a.example." always_nxdomain\n'
            '  local-zone: "good.example." transparent\n  local-data: "b.example. A 0.0.0.0"\n'
        ),
        ["domain a.example", "hostname b.example"],
    ),
    "rpz": (
        (
            "$TTL 2w\n@ IN SOA localhost. root.localhost. (\n 2026010100 ; serial\n"
            " 2h 30m 4w 2h )\n"
            "  IN NS localhost.\na.example CNAME .\n*.a.example CNAME .\nb.example 60 IN CNAME *.\n"
            "good.example CNAME rpz-passthru.\n24.0.2.0.192.rpz-ip CNAME .\n"
            "128.7.zz.db8.2001.rpz-ip CNAME .\nns.example.rpz-nsdname CNAME .\n"
        ),
        [
            "hostname a.example",
            "domain a.example",
            "hostname b.example",
            "ip-dst 192.0.2.0/24",
            "ip-dst 2001:db8::7/128",
        ],
    ),
}


@pytest.mark.parametrize("name", DIALECTS)
def test_dialect_is_found_out_and_understood(tmp_path: Path, name: str) -> None:
    text, values = DIALECTS[name]
    path = tmp_path / "list.txt"
    path.write_text(text)
    found = [f"{a.type} {a.value}" for a in read_list(SourceFile(path)) if a.value]
    assert found == values
    # Whatever else stands there has a fate, too: every line is told of.
    places = {a.place for a in read_list(SourceFile(path))}
    assert len(places) == text.count("\n")


@pytest.mark.parametrize(
    "text",
    [
        "domain\tevil.example\nurl\thttp://x.example/p\nip-dst\t198.51.100.3\n",
        "domain\tevil.example\ndomain\tother.example\n",
        "# Blocklist of URL, domain\n0.0.0.0 evil.example\n0.0.0.0 other.example\n",
        "; url\nevil.example ; x\n",
        "# IP, Host\n192.0.2.1\n",
    ],
)
def test_list_is_not_taken_for_csv(tmp_path: Path, text: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(text)
    found = [a for a in read_path(path) if not a.skipped]
    assert [a.place for a in found if a.refused] == []
    assert {a.value for a in found}.isdisjoint({"url", "domain", "ip-dst", "x"})
    assert len(found) == sum(not line.startswith(("#", ";")) for line in text.splitlines())


@pytest.mark.parametrize(
    "line", ["127.0.1.1 mymachine", "192.168.1.5 nas", "198.51.100.7 mailhost", "0.0.0.0 bareword"]
)
def test_address_of_a_hosts_file_is_no_indicator(tmp_path: Path, line: str) -> None:
    path = tmp_path / "hosts.txt"
    path.write_text(f"127.0.0.1 localhost\n{line}\n0.0.0.0 a.example bareword\n")
    found = [f"{a.type} {a.value}" for a in read_list(SourceFile(path)) if a.value]
    assert found == ["domain a.example"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("dnsmasq", "address=/intranet.example/192.168.1.5"),
        ("unbound", 'local-data: "nas.example A 192.168.1.1"'),
        ("rpz", "self.example CNAME self.example."),
        ("rpz", "evil.example.rpz.zone.example. 300 IN CNAME ."),
    ],
)
def test_what_a_resolver_answers_is_not_blocked(tmp_path: Path, name: str, line: str) -> None:
    path = tmp_path / "list.conf"
    path.write_text(f"{line}\n")
    (found,) = read_list(SourceFile(path), "", name)
    assert found.refused or found.skipped


@pytest.mark.parametrize("line", ["." * 16_000, "a." * 8000 + ":", "\u00fc." * 8000, "a" * 16_000])
def test_long_line_costs_no_more_than_its_length(tmp_path: Path, line: str) -> None:
    """It took seconds: the pattern of names tried every dot as the last one."""
    path = tmp_path / "list.txt"
    path.write_text(f"{line}\n" * 40)
    began = time.process_time()
    assert all(a.refused for a in read_list(SourceFile(path)))
    # Before, each of these lines took 0.7 to 4.5 s.
    assert time.process_time() - began < 10


def test_every_dialect_can_be_set_and_has_a_list_here() -> None:
    names = {dialect.name for dialect in registry.DIALECTS}
    assert names == set(DIALECTS) | {"plain"}
    (field,) = (f for f in msgspec.structs.fields(ListSettings) if f.name == "format")
    assert set(get_args(field.type)) == names | {""}


@pytest.mark.slow
def test_words_in_the_place_of_a_type_stay_secret(installation: Installation) -> None:
    """Class names stand in clear in the manifest and in file names."""
    lines = "".join(f"secret{n}.example\tfamily {n}\n" for n in range(1200))
    rows = [attribute("domain", "ok.example"), attribute("secret.example", "x")]
    (installation.events / "list.txt").write_text(lines)
    installation.add("event", *rows)
    (installation.events / "more.csv").write_text(
        "uuid,type,value\n,planted-secret.example,a\n,domain,b.example\n"
    )
    done = installation.run("inkgate-rules", "refresh")
    assert done.returncode == 0, done.stderr
    publics = [p for p in installation.folder.rglob("*") if "last-good" not in p.parts]
    publics = [p for p in publics if installation.events not in p.parents]
    assert not [p for p in publics if b"secret" in p.name.encode()]
    holders = [p for p in publics if p.is_file() and b"secret" in p.read_bytes()]
    assert not holders, holders
    assert "secret" not in done.stdout + done.stderr
    # The search finds what is there to be found.
    assert b"secret" in (installation.events / "list.txt").read_bytes()
    found = installation.run("inkgate-rules", "match", "domain=www.secret7.example")
    assert found.returncode == 0


@pytest.mark.slow
def test_newer_type_is_sealed_when_the_settings_name_it(installation: Installation) -> None:
    installation.add("event", attribute("domain", "ok.example"), attribute("new-type", "x"))
    assert installation.refresh().report.fates["refused"] == 1
    installation.configure('more_types = ["new-type"]')
    assert installation.refresh().report.fates["refused"] == 0


def test_list_of_another_type_than_the_settings_say_is_a_fault(installation: Installation) -> None:
    installation.add("good", attribute("domain", "ok.example"))
    (installation.folder / "c2").write_text("ab\ncd\n192.0.2.7\n")
    installation.configure(
        'sources = ["events", { type = "list", path = "c2", indicator_type = "ip-dst" }]'
    )
    (fault,) = installation.refresh().unreadable
    assert "c2: 2 of 3 lines cannot be used" in str(fault)


def test_word_in_the_settings_that_is_no_type_is_refused(installation: Installation) -> None:
    installation.configure('sources = [{ type = "list", path = "c2", indicator_type = "ip-dest" }]')
    with pytest.raises(SettingsError, match=r"entry 1.*indicator_type is not a type that MISP has"):
        installation.refresh()


@pytest.mark.slow
def test_list_that_is_mostly_refused_is_a_fault_and_its_last_good_counts(
    installation: Installation,
) -> None:
    path = installation.events / "list.txt"
    path.write_text("a.example\nb.example\n")
    assert installation.run("inkgate-rules", "refresh").returncode == 0
    path.write_text("<html>\n<p>Service unavailable</p>\n</html>\nc.example\n")
    done = installation.run("inkgate-rules", "refresh")
    assert done.returncode == 1
    assert "list.txt: 3 of 4 lines cannot be used" in done.stderr
    for name, code in (("a.example", 0), ("b.example", 0), ("c.example", 1)):
        assert installation.run("inkgate-rules", "match", f"domain={name}").returncode == code


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        (".gz", gzip.compress),
        (".xz", lzma.compress),
        (".bz2", bz2.compress),
        (".zst", zstandard.compress),
    ],
)
def test_compressed(tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    whole = tmp_path / f"list.txt{suffix}"
    whole.write_bytes(pack(b"".join(b"host%d.example\n" % n for n in range(5000))))
    assert len(listed(whole)) == 5000
    cut = tmp_path / f"cut.txt{suffix}"
    cut.write_bytes(whole.read_bytes()[:-12])
    with pytest.raises(Unreadable, match=r"cut\.txt"):
        next(read_list(SourceFile(cut)))
    data = bytearray(whole.read_bytes())
    for place in range(4, len(data), max(1, len(data) // 50)):
        flipped = bytearray(data)
        flipped[place] ^= 0x40
        cut.write_bytes(flipped)
        # Either it is the same list, or not one line is given.
        try:
            assert len(listed(cut)) == 5000
        except Unreadable as fault:
            assert "cut.txt" in str(fault)  # noqa: PT017 (most bytes, not all)


@pytest.mark.parametrize(
    "text", ["", ".", "..", "1.2.3", "host", "\0", "a b", "::", "[]:1", "x" * 9]
)
def test_guess_never_raises(text: str) -> None:
    assert isinstance(guess_type(text), str)


def test_endless_line_is_cut_and_refused(installation: Installation) -> None:
    (installation.events / "list.txt").write_text("a" * 1_000_000 + "\nbad.example\n")
    summary = installation.refresh()
    assert summary.rules - summary.canaries == 1
    assert summary.report.total("refused") >= 1


@pytest.mark.slow
def test_a_list_is_enough_to_block(installation: Installation) -> None:
    """What a Squid operator without a MISP has: one file, one indicator a line."""
    (installation.events / "list.txt").write_text(
        "bad.example\n192.0.2.7\nwhat is this\n192.0.2.8\n192.0.2.9\n"
    )
    done = installation.run("inkgate-rules", "refresh")
    assert done.returncode == 0, done.stderr
    assert "refused: 1 (" in done.stderr
    assert "list.txt:3" in done.stderr
    assert "what is this" not in done.stderr
    found = installation.run("inkgate-rules", "match", "domain=www.bad.example")
    assert found.returncode == 0
    assert "source=list.txt" in found.stdout


@pytest.mark.slow
def test_typed_list_from_the_settings(installation: Installation) -> None:
    (installation.folder / "hosts").write_text("bad.example\n")
    installation.configure(
        'sources = [{ type = "list", path = "hosts", indicator_type = "hostname" }]'
    )
    installation.refresh()
    assert installation.run("inkgate-rules", "match", "hostname=bad.example").returncode == 0
    assert installation.run("inkgate-rules", "match", "hostname=a.bad.example").returncode == 1
