"""Nothing from outside reaches a terminal or a log as an escape sequence or a line of its own."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from inkgate.config.printable import printable, printable_json
from inkgate.config.table import print_table
from inkgate.helper.__main__ import log as helper_log
from inkgate.icap_server.__main__ import log as icap_log
from inkgate.misp.address import redirect_target
from inkgate.misp.diagnosis import message_of
from inkgate.rules.audit.brute_force import Attack
from inkgate.rules.audit.screen import print_attack
from inkgate.rules.pack.files import write_manifest
from inkgate.rules.pack.manifest import parse_manifest
from inkgate.sightings.commands.aggregation import _say
from inkgate.squid_conf import cli as squid_cli
from inkgate.squid_conf import trial
from support.installation import Installation, attribute
from support.reporting import sighting

# Clears a screen, in both spellings of ECMA-48's CSI; writes from right to left; ends a line.
HOSTILE = "\x1b[2J\x9b2J\N{RIGHT-TO-LEFT OVERRIDE}\ninkgate-rules: all is well\r\t"


def is_tame(text: str) -> bool:
    """Whether a terminal shows this as lines of text, and nothing more."""
    return all(c.isprintable() or c in "\n\t" for c in text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("listed.example ü 界", "listed.example ü 界"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("one\ntwo\r\tthree", "one two  three"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}fdp.exe", r"\u202efdp.exe"),
        ("\udc80", r"\udc80"),
        ("", ""),
    ],
)
def test_printable_text(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_printable_text_is_one_line_without_controls(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in shown)
    assert printable(shown) == shown


@given(
    st.recursive(
        st.none() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("ab\x9b\u2028😀\x7f"), inner),
        max_leaves=10,
    ),
    st.booleans(),
)
def test_printable_json_means_the_same(value: object, indented: bool) -> None:
    data = json.dumps(value, ensure_ascii=False, indent=2 if indented else None).encode()
    shown = printable_json(data)
    assert json.loads(shown) == value
    assert is_tame(shown)


def test_error_of_a_command(installation: Installation) -> None:
    """A source's name, as whoever made the file chose it."""
    name = f"feed{HOSTILE}.csv"
    installation.configure(f"sources = [{json.dumps(name)}]")
    done = installation.run("inkgate-rules", "refresh")
    assert done.returncode == 2
    assert r"feed\x1b[2J\x9b2J\u202e inkgate-rules" in done.stderr
    assert is_tame(done.stderr)
    assert done.stderr.count("\n") == 1


def test_problems_of_a_refresh(installation: Installation) -> None:
    installation.add("good", attribute("domain", "listed.example"))
    (installation.events / f"bad{HOSTILE}.json").write_text("{")
    strange = attribute(f"type{HOSTILE}", "value")
    installation.add(f"odd{HOSTILE}", {**strange, "uuid": f"u{HOSTILE}"})
    done = installation.run("inkgate-rules", "refresh")
    assert done.returncode == 1
    assert r"bad\x1b[2J" in done.stderr
    assert r"odd\x1b[2J" in done.stderr
    assert is_tame(done.stderr)
    assert "\ninkgate-rules: all is well" not in done.stderr
    report = (installation.places.publisher / "last-refresh.tsv").read_text()
    assert r"odd\x1b[2J" in report
    # A word that is no type, or no UUID, may be an indicator, and is not shown.
    assert r"u\x1b[2J" not in done.stderr + report
    assert "type" not in report.splitlines()[1].split("\t")[2]
    assert len(report.splitlines()) == 2


@pytest.fixture
def told(installation: Installation) -> Installation:
    """An installation with a rule whose message holds what MISP had in a comment."""
    installation.configure('message = ["uuid", "comment"]')
    installation.add("told", attribute("domain", "listed.example", comment=HOSTILE))
    installation.refresh()
    return installation


@pytest.mark.slow
def test_messages_of_matches(told: Installation) -> None:
    done = told.run("inkgate-rules", "match", "domain=listed.example")
    assert done.returncode == 0
    assert r"comment=\x1b[2J" in done.stdout
    assert done.stdout.count("\n") == 1
    assert is_tame(done.stdout)
    for query in ("domain=listed.example", str(log(told))):
        as_json = told.run("inkgate-rules", "match", "--json", query).stdout
        assert is_tame(as_json)
        assert json.loads(as_json)["message"]["attributes"][0]["comment"] == HOSTILE


def log(installation: Installation) -> Path:
    path = installation.folder / "requests.json"
    path.write_text('{"url": "http://listed.example/", "client": "\\u001b[2J"}\n')
    return path


@pytest.mark.slow
def test_matches_in_a_log(told: Installation) -> None:
    done = told.run("inkgate-rules", "match", str(log(told)))
    assert r"comment=\x1b[2J" in done.stdout
    assert is_tame(done.stdout)


def test_manifest_of_a_publisher(installation: Installation) -> None:
    installation.add("good", attribute("domain", "listed.example"))
    installation.refresh()
    # As `inspect` finds it: signed by a publisher who is trusted, and was careless.
    current = (installation.places.installed / "current").resolve()
    hostile = parse_manifest((current / "manifest.json").read_bytes(), installation.settings.caps)
    (current / "manifest.json").unlink()
    write_manifest(current, msgspec.structs.replace(hostile, subscriber=f"me{HOSTILE}"))
    shown = installation.run("inkgate-rules", "inspect").stdout
    assert r"me\x1b[2J" in shown
    assert is_tame(shown)
    as_json = installation.run("inkgate-rules", "inspect", "--json").stdout
    assert json.loads(as_json)["subscriber"] == f"me{HOSTILE}"
    assert is_tame(as_json)


@pytest.mark.parametrize("say", [helper_log, icap_log, _say])
def test_lines_of_logs(say: Callable[[str], None], capsys: pytest.CaptureFixture[str]) -> None:
    say(f"bad request {HOSTILE}")
    said = capsys.readouterr().err
    assert r"bad request \x1b[2J\x9b2J\u202e inkgate-rules: all is well" in said
    assert is_tame(said)
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    "say",
    [
        "from inkgate.health.log import dated_log; dated_log('inkgate-icap')",
        "from inkgate.config.printable import to_stderr; (lambda line: to_stderr('a', line))",
    ],
)
def test_line_of_a_log_is_one_write_so_that_no_other_process_glues_its_own_to_it(say: str) -> None:
    first, _, function = say.rpartition("; ")
    reader, writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with reader, writer:
        program = f"{first}\n{function}('x' * 3000)\n{function}('y')"
        subprocess.run([sys.executable, "-c", program], stderr=writer, check=True)
        reader.settimeout(10)
        lines = [reader.recv(1 << 16) for _ in range(2)]
    assert [line[-2:] for line in lines] == [b"x\n", b"y\n"]
    assert len(lines[0]) > 3000


def test_words_of_misp_are_kept_as_text() -> None:
    said = message_of({"message": HOSTILE})
    assert said.startswith(r"\x1b[2J\x9b2J")
    assert said.isprintable()
    target = redirect_target("https://misp.example/", "/users/\x9b2J\N{RIGHT-TO-LEFT OVERRIDE}")
    assert target == r"https://misp.example/users/\x9b2J\u202e"


def test_journal_as_json(installation: Installation) -> None:
    from inkgate.sightings.journal.journal import Journal

    Journal(installation.folder / "run" / "sightings.db").append(
        [sighting(["u"], client=HOSTILE, incident="IG-0000000000")]
    )
    for command in (["list", "--json"], ["show", "--json", "IG-0000000000"]):
        done = installation.run("inkgate-sightings", *command)
        assert done.returncode == 0, done.stderr
        assert is_tame(done.stdout)
        assert json.loads(done.stdout)["client"] == HOSTILE
    done = installation.run("inkgate-sightings", "list")
    assert done.stdout.count("\n") == 1
    assert is_tame(done.stdout)


def test_complaints_of_the_helper_that_squid_would_start(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(squid_cli, "helper_problem", lambda *_: f"it said: {HOSTILE}")
    done = CliRunner().invoke(
        squid_cli.main, ["--config", str(installation.config), "fragment", "--access-log", ""]
    )
    assert done.exit_code == 0
    assert r"warning: it said: \x1b[2J" in done.stderr
    assert is_tame(done.stderr)
    # There is no launcher here, which is a warning of its own.
    assert all(line.startswith("inkgate-squid-conf: ") for line in done.stderr.splitlines())


def test_end_of_the_log_of_a_squid_that_did_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "squid").mkdir()
    (tmp_path / "squid" / "cache.log").write_text(f"one{HOSTILE}\ntwo\n")
    with subprocess.Popen(["/bin/true"]) as ended:
        ended.wait()
        with pytest.raises(trial.TrialError, match="did not start"):
            trial._wait_until_up(ended, 1, tmp_path)
    said = capsys.readouterr().err
    assert r"squid: one\x1b[2J" in said
    assert "squid: two\n" in said
    assert is_tame(said)


def test_what_an_attack_recovered(capsys: pytest.CaptureFixture[str]) -> None:
    made = Attack(Counter(text=1), (("text", f"word{HOSTILE}"),), Counter(text=1), 1.0, 1.0)
    print_attack(made, 1.0, show=True)
    shown = capsys.readouterr().out
    assert r"word\x1b[2J" in shown
    assert is_tame(shown)


@pytest.mark.parametrize("extras", [True, False])
def test_cells_of_tables(
    extras: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("inkgate.config.table.is_installed", lambda _: extras)
    monkeypatch.setenv("COLUMNS", "300")
    print_table(("one", "two"), [(f"a{HOSTILE}", "[red]b")])
    shown = capsys.readouterr().out
    assert r"a\x1b[2J" in shown
    assert "[red]b" in shown
    assert is_tame(shown)
