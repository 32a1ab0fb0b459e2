"""Everything that inkgate writes has the mode of this table, whatever the umask is."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import stat
import subprocess
import threading
import uuid
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from inkgate.admin.status import modes
from inkgate.admin.status.row import Level, Machine, Row
from inkgate.config.modes import make_folder
from inkgate.health.clock import Clock
from inkgate.health.conditions import NAMES
from inkgate.health.counters import Counters
from inkgate.rules.crypto.keys import make_token
from inkgate.rules.sources.attribute import Attribute
from inkgate.rules.sources.last_good import LastGood
from inkgate.rules.sources.mirror import Mirror
from inkgate.sightings.aggregation.exchange.answer_record import AnswerRecord
from inkgate.sightings.aggregation.exchange.mailbox import FileMailbox
from inkgate.sightings.aggregation.exchange.participant import Participant
from inkgate.sightings.aggregation.exchange.running import Aggregation, take_part
from inkgate.sightings.aggregation.exchange.state_folder import StateFolder, write_secret
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.report.reporter import only_reporter
from inkgate.squid_conf import trial
from support.aggregation import Party
from support.installation import BIN, Installation, attribute
from support.reporting import sighting
from support.sabotage import give

pytestmark = pytest.mark.slow

ANY = r"[^/]+"
# Paths, with the mode of what lies there. Folders are made in one with set-group-ID.
PUBLISHER = {
    r"publisher": 0o2700,
    r"publisher/\.lock": 0o600,
    r"publisher/signing\.key": 0o600,
    r"publisher/padding\.key": 0o600,
    r"publisher/last-(refresh|export)\.tsv": 0o600,
    r"publisher/(last-good|sources|warninglists|subscribers)": 0o2700,
    rf"publisher/(last-good|warninglists)/{ANY}": 0o600,
    rf"publisher/sources/{ANY}\.db": 0o600,
    r"publisher/sources/[0-9a-f]{16}": 0o2700,
    rf"publisher/sources/{ANY}/{ANY}\.json": 0o600,
}
WORKSPACE = {
    r"": 0o2700,
    r"/epoch\.json": 0o600,
    r"/last-refresh\.tsv": 0o600,
    r"/(derived|packs|sealed)": 0o2700,
    rf"/derived/{ANY}\.(key|mdb|mdb-lock)": 0o600,
    rf"/sealed/{ANY}": 0o2700,
    rf"/sealed/{ANY}/[0-9]+\.run": 0o600,
    r"/packs/[0-9]+": 0o2700,
    r"/packs/[0-9]+/(rules|gates)": 0o2755,
    r"/packs/[0-9]+/((rules|gates)/)?[^./]+\.(tsv|b64|json|sig)": 0o644,
    r"/packs/[0-9]+/\.content": 0o600,
}
TABLE = {
    **PUBLISHER,
    **{f"publisher{path}": mode for path, mode in WORKSPACE.items()},
    **{f"publisher/subscribers/branch{path}": mode for path, mode in WORKSPACE.items()},
    r"(branch\.|fresh/)?token": 0o640,
    r"fresh": 0o2755,
    r"fresh/publisher": 0o2700,
    r"fresh/publisher/signing\.key": 0o600,
    r"fresh/publisher\.pub": 0o644,
    r"clients\.key": 0o640,
    r"launcher": 0o2755,
    r"launcher/inkgate-(launch|standby)": 0o755,
    r"launcher/fail": 0o644,
    r"publisher\.pub": 0o644,
    r"rules": 0o2750,
    r"rules/\.lock": 0o600,
    r"rules/(serials|last-refresh)\.json": 0o640,
    r"rules/generations": 0o2750,
    rf"rules/generations/{ANY}": 0o2750,
    rf"rules/generations/{ANY}/{ANY}": 0o640,
    r"out": 0o2755,
    r"(out/)?[^/.]+\.inkgate": 0o644,
    r"partner": 0o2750,
    rf"partner/({ANY}\.tsv|metadata)": 0o640,
    r"pages": 0o2755,
    r"pages/ERR_INKGATE_((REPLY_)?BLOCKED|UNAVAILABLE)": 0o644,
    r"run": 0o2755,
    r"run/health": 0o2750,
    rf"run/health/{ANY}(\.counters|\.json)": 0o640,
    r"run/keys(-match)?": 0o2700,
    rf"run/keys(-match)?/{ANY}": 0o600,
    r"run/sightings\.db(-wal|-shm|\.reporter|\.reserve)?": 0o640,
    r"state": 0o2700,
    r"state/(identity|groups)": 0o2700,
    r"state/(record\.db|identity/(signing|sealing)\.key)": 0o600,
    r"state/identity/signing\.pub": 0o644,
    r"state/groups/isac(/sessions(/[0-9a-f]+(/[0-9]+)?)?)?": 0o2700,
    r"state/groups/isac/(group\.json|list-7\.txt)": 0o644,
    r"state/groups/isac/subscriber\.key": 0o600,
    rf"state/groups/isac/sessions/{ANY}/{ANY}/({ANY}\.msg|closed)": 0o600,
    r"state/org-00[0-9]\.db": 0o600,
    # Whoever may write into a mailbox may write into its boxes.
    r"box(/[0-9a-f]+(/[0-9]+(/up|/down(/[^/.]+)?)?)?)?": 0o2770,
    rf"box/{ANY}/[0-9]+/(up|down/{ANY})/{ANY}\.msg": 0o644,
}
TRIAL = {
    r"": 0o2750,
    r"/inkgate\.toml": 0o640,
    r"/squid\.conf": 0o644,
    r"/rules": 0o2750,
    r"/pages": 0o2755,
    r"/(run|squid)": 0o2750,
    r"/launcher": 0o2755,
    r"/launcher/inkgate-(launch|standby)": 0o755,
    r"/launcher/fail": 0o644,
    r"/squid/hosts": 0o644,
    r"/events": 0o700,
}


@contextlib.contextmanager
def web_server(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def feed(folder: Path) -> Path:
    folder.mkdir()
    name = str(uuid.uuid4())
    event = {"uuid": name, "Attribute": [attribute("domain", "fed.example")]}
    (folder / f"{name}.json").write_text(json.dumps({"Event": event}))
    (folder / "manifest.json").write_text(json.dumps({name: {"timestamp": "1"}}))
    return folder


def publish_and_install(made: Installation) -> None:
    made.add("listed", attribute("domain", "listed.example"), attribute("domain", "no name"))
    lists = made.folder / "lists" / "words"
    lists.mkdir(parents=True)
    (lists / "list.json").write_text(
        json.dumps({"name": "words", "type": "string", "version": 1, "list": ["listed.example"]})
    )
    with web_server(feed(made.folder / "feed")) as url:
        made.configure(
            f'sources = ["events", {{ type = "feed", location = "{url}" }}]\npad = 4\n'
            'warninglists = { default = "mark" }\nwarninglists_folder = "lists"'
        )
        make_token(made.folder / "branch.token")
        made.config.write_text(
            made.config.read_text() + '[rules.subscribers.branch]\ntoken_file = "branch.token"\n'
        )
        commands: list[tuple[str, ...]] = [
            ("refresh",),
            ("publish", "--for", "branch", "-o", str(made.folder / "out")),
            ("export", str(made.folder / "exported.inkgate")),
            ("install", str(made.folder / "exported.inkgate")),
            ("export-foreign", "--format", "thesis-pbkdf2", "--iterations", "1",
             str(made.folder / "partner")),
        ]  # fmt: skip
        for command in commands:
            done = made.run("inkgate-rules", *command)
            assert done.returncode == 0, done.stderr
    sources = made.places.publisher / "sources"
    Mirror(sources / "misp.db", "x").close()
    copies = LastGood(made.places.publisher / "last-good")
    list(
        copies.snapshot("mysql", iter([Attribute(type="domain", value="a.example", uuid="u")]), [])
    )


def look_up_and_report(made: Installation) -> None:
    (made.folder / "log.json").write_text('{"url": "http://listed.example/"}\n')
    done = made.run("inkgate-rules", "match", "--sightings", str(made.folder / "log.json"))
    assert done.returncode == 0, done.stderr
    # A helper whose input ends at once has begun to count.
    assert made.run("inkgate-helper").returncode == 0
    journal = made.folder / "run" / "sightings.db"
    with contextlib.closing(Journal(journal)) as writing, only_reporter(journal) as is_alone:
        writing.append([sighting(["u"])])
        assert is_alone


def make_keys_and_squids_side(made: Installation) -> None:
    text = made.config.read_text()
    text = text.replace("[squid_conf]\n", '[squid_conf]\nlauncher = "launcher"\n')
    text = text.replace("[sightings]\n", '[sightings]\nclients_key_file = "clients.key"\n')
    made.config.write_text(text)
    fresh = made.folder / "fresh.toml"
    fresh.write_text(
        '[rules]\npublisher = "fresh/publisher"\ntoken_file = "fresh/token"\n'
        'public_key_file = "fresh/publisher.pub"\n'
    )
    commands = [
        ("inkgate-squid-conf", made.config, "pages"),
        ("inkgate-squid-conf", made.config, "launcher"),
        ("inkgate-sightings", made.config, "keygen"),
        ("inkgate-rules", fresh, "keygen"),
    ]
    for command, config, word in commands:
        subprocess.run([BIN / command, "--config", config, word], check=True, capture_output=True)


def count_what_goes_wrong(folder: Path) -> None:
    make_folder(folder, 0o750)
    Counters(folder, "inkgate-helper", NAMES)
    Clock(folder).keep()


def squids_user_can_do_what_it_must(made: Installation) -> list[Row]:
    """What `inkgate status` complains of, where `run` belongs to Squid's user."""
    give(made.folder / "run", "proxy")
    found = modes.rows(Machine(made.config, [], 0.0))
    return [row for row in found if row.level is not Level.OK]


def aggregate(folder: Path) -> None:
    party = Party("shi", 3, 2)
    (folder / "box").mkdir()
    (folder / "box").chmod(0o2770)
    mailbox, state = FileMailbox(folder / "box"), StateFolder(folder / "state")
    state.identity()
    state.sealing_key()
    state.pin(party.group, party.group.encoded)
    state.keep_list("isac", party.session.labels)
    write_secret(state.group_folder("isac") / "subscriber.key", party.dealt[party.names[0]])
    AnswerRecord(state.record).close()
    for name in party.names:
        record = AnswerRecord(folder / "state" / f"{name}.db")
        record.open_period(party.session, [1, 2])
        subscriber = Participant(name, party.identities[name], record, party.dealt[name])
        assert take_part(subscriber, party.session, name, mailbox, 0)
    mailbox.put(f"{'0' * 64}/1/down/org", "org", b"x")
    kept = state.session_folder(party.group, party.session.id)
    running = Aggregation(
        party.session, party.aggregator(), kept, mailbox, party.signing, pytest.fail
    )
    assert running.run(0).values == [3, 6]


def ours(made: Installation) -> list[Path]:
    """What inkgate wrote, and not the test."""
    test = {"inkgate.toml", "fresh.toml", "events", "lists", "feed", "log.json"}
    return [
        path
        for path in sorted(made.folder.rglob("*"))
        if path.relative_to(made.folder).parts[0] not in test and not path.is_symlink()
    ]


def wrong(folder: Path, paths: list[Path], table: dict[str, int]) -> tuple[list[str], set[str]]:
    """What has another mode than the table says or is not in it, and the rows that were seen."""
    faults, seen = [], set()
    for path in paths:
        name = str(path.relative_to(folder))
        rows = [row for row in table if re.fullmatch(row, name)]
        seen.update(rows)
        mode = stat.S_IMODE(path.stat().st_mode)
        if not rows or mode != table[rows[0]]:
            faults.append(f"{name}: {mode:o}")
    return faults, seen


@pytest.mark.parametrize("mask", [0o077, 0o027, 0o002, 0o000], ids=oct)
def test_modes_of_all_that_is_written(mask: int) -> None:
    before = os.umask(mask)
    try:
        made = Installation()
        try:
            (made.folder / "run").rmdir()
            publish_and_install(made)
            (made.folder / "run").mkdir()
            (made.folder / "run").chmod(0o2755)
            look_up_and_report(made)
            make_keys_and_squids_side(made)
            made.config.chmod(0o640)  # the operator's own
            count_what_goes_wrong(made.folder / "run" / "health")
            aggregate(made.folder)
            faults, seen = wrong(made.folder, ours(made), TABLE)
            said = squids_user_can_do_what_it_must(made) if os.geteuid() == 0 else []
        finally:
            made.close()
    finally:
        os.umask(before)
    assert not faults
    assert TABLE.keys() - seen == set()
    assert said == []


@pytest.mark.parametrize("mask", [0o077, 0o000], ids=oct)
def test_modes_of_a_trial(tmp_path: Path, mask: int) -> None:
    state = tmp_path / "trial"
    before = os.umask(mask)
    try:
        config = trial._prepare(state)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            trial._configure(state, config, probe.getsockname()[1], 1)
    finally:
        os.umask(before)
    found = (state, *state.glob("*"), *state.glob("squid/*"), *state.glob("launcher/*"))
    paths = [path for path in found if not path.is_symlink()]
    rest = {
        f"trial{row}": mode
        for row, mode in {
            **TRIAL, r"/token": 0o640, r"/publisher\.pub": 0o644, r"/publisher": 0o2700
        }.items()
    }  # fmt: skip
    faults, seen = wrong(tmp_path, paths, rest)
    assert not faults
    assert rest.keys() - seen == set()
