"""The supervisor and its workers: damaged settings, full workers, no descriptors, the end."""

from __future__ import annotations

import json
import os
import pwd
import re
import resource
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.icap import (
    REST_OF_BODY,
    Answer,
    Icap,
    http_request,
    occupy,
    options,
    read_answer,
    reqmod,
)
from support.installation import BIN, Installation, attribute
from support.sabotage import give
from support.squid import free_port
from support.waiting import wait_until

pytestmark = pytest.mark.slow

LISTED = reqmod(http_request("http://listed.example/"))
POST = http_request("http://fine.example/form", "POST")
UNFINISHED = reqmod(POST, b"5\r\nab")

# What is damaged: what is replaced in inkgate.toml by what, and what the log has to say.
DAMAGES = [
    ("ttl = 2\n", "ttl = -1\n", "[squid_conf] ttl: Expected `int` >= 0"),
    ("ttl = 2\n", "tll = 2\n", "[squid_conf] Object contains unknown field `tll`"),
    ("[rules]\n", "[rules]\nepsilon = 7\n", "[rules] epsilon: Expected `float` <= 1.0"),
    ("[sightings]\n", "[sightings]\nkeep_days = 0\n", "[sightings] keep_days: Expected `int` >= 1"),
    ("[icap]\n", "[icap]\nconnections = 0\n", "[icap] connections: Expected `int` >= 1"),
    ("[icap]\n", "[icap\n", "is not TOML"),
    (
        "[icap]\n",
        '[icap]\ntls_listen = "127.0.0.1:1"\ntls_certificate = "none"\ntls_key = "none"\n',
        "[icap] tls_certificate and tls_key cannot be used",
    ),
]


@pytest.fixture
def installation() -> Iterator[Installation]:
    made = Installation()
    made.add("listed", attribute("domain", "listed.example"))
    made.refresh()
    yield made
    made.close()


def kept(server: Icap) -> list[str]:
    return [line for line in server.log.splitlines() if "the old settings stay in use" in line]


def refuse_to_reload(server: Icap, times: int) -> str:
    """Send SIGHUP, which must change nothing; the line that says why."""
    workers = server.workers()
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: len(kept(server)) == times, "a line about the settings")
    assert server.workers() == workers or set(workers) < set(server.workers())
    assert server.ask(LISTED).http_status == 403
    return kept(server)[-1]


def test_fault_hang_up_with_a_damaged_section_keeps_the_workers(
    installation: Installation,
) -> None:
    server = Icap(installation, workers=2)
    try:
        workers = server.workers()
        sound = installation.config.read_text()
        for times, (old, new, said) in enumerate(DAMAGES, 1):
            assert old in sound
            installation.config.write_text(sound.replace(old, new))
            line = refuse_to_reload(server, times)
            assert f"{installation.config}: {said}" in line
            remedies = ("correct that", "did you mean ttl?", "give two PEM files")
            assert any(remedy in line for remedy in remedies)
        assert server.workers() == workers
        installation.config.write_text(sound.replace("workers = 2", "workers = 1"))
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: len(server.workers()) == 1, "one worker in place of two")
        assert not set(workers) & set(server.workers())
        assert server.ask(LISTED).http_status == 403
        assert len(kept(server)) == len(DAMAGES)
    finally:
        server.close()


def test_fault_hang_up_that_would_lose_the_rules_keeps_the_workers(
    installation: Installation,
) -> None:
    server = Icap(installation)
    try:
        sound = installation.config.read_text()
        installation.config.write_text(sound.replace('installed = "rules"', 'installed = "none"'))
        assert "cannot open the rules" in refuse_to_reload(server, 1)
        assert server.log.count("none") >= 1
        wait_until(lambda: len(server.workers()) == 1, "the end of the worker without rules")
    finally:
        server.close()


def kill_next(server_pid: int, before: list[int]) -> None:
    """Kill the next worker as soon as it is there, long before it can serve."""
    children = Path(f"/proc/{server_pid}/task/{server_pid}/children")
    new: set[int] = set()

    def came() -> bool:
        new.update({int(pid) for pid in children.read_text().split()} - set(before))
        return bool(new)

    end = time.monotonic() + 15
    while not came():
        assert time.monotonic() < end
    for pid in new:
        os.kill(pid, signal.SIGKILL)


def test_fault_new_worker_that_dies_before_it_serves_replaces_nobody(
    installation: Installation,
) -> None:
    server = Icap(installation)
    try:
        workers = server.workers()
        server.process.send_signal(signal.SIGHUP)
        kill_next(server.process.pid, workers)
        wait_until(lambda: kept(server), "a line about the worker")
        assert "ended before it could serve" in kept(server)[0]
        wait_until(lambda: server.workers() == workers, "the end of the killed worker")
        assert server.ask(LISTED).http_status == 403
    finally:
        server.close()


def start(installation: Installation) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [BIN / "inkgate-icap", "--config", installation.config],
        stderr=subprocess.PIPE,
        text=True,
    )


def test_fault_first_workers_that_die_end_the_server_with_the_reason(
    installation: Installation,
) -> None:
    with installation.config.open("a") as file:
        file.write(f'[icap]\nlisten = "127.0.0.1:{free_port()}"\n')
    process = start(installation)
    kill_next(process.pid, [])
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "ended before it could serve" in said
    assert "listening on" not in said


@pytest.mark.parametrize(("old", "new", "reason"), DAMAGES)
def test_fault_damaged_section_at_start_ends_the_server_with_the_reason(
    installation: Installation, old: str, new: str, reason: str
) -> None:
    text = installation.config.read_text() + f'[icap]\nlisten = "127.0.0.1:{free_port()}"\n'
    installation.config.write_text(text.replace(old, new))
    process = start(installation)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    (line,) = said.splitlines()
    assert f"{installation.config}: {reason}" in line


def test_fault_crashed_worker_starts_from_the_damaged_settings(
    installation: Installation,
) -> None:
    """After a refused SIGHUP, or a change that was never taken, what works stays in use."""
    template = installation.folder / "own.html"
    template.write_text("{% if kind == 'unavailable' %}none{% endif %}{{ incident }} own page")
    text = installation.config.read_text()
    installation.config.write_text(
        text.replace("[squid_conf]\n", '[squid_conf]\ntemplate = "own.html"\n')
    )
    server = Icap(installation, workers=2)
    try:
        sound = installation.config.read_text()
        installation.config.write_text(sound.replace("[icap]\n", "[icap]\nidle_seconds = 0\n"))
        template.unlink()
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the old settings stay in use" in server.log, "the refusal")
        first = server.workers()
        for worker in first:
            os.kill(worker, signal.SIGKILL)
        wait_until(
            lambda: len(server.workers()) == 2 and not set(first) & set(server.workers()),
            "other workers",
        )
        answer = wait_until(lambda: _asked(server), "an answer")
        assert answer.http_status == 403
        assert b"own page" in answer.body
    finally:
        server.close()


def _asked(server: Icap) -> Answer | None:
    try:
        return server.ask(LISTED)
    except OSError:
        return None


def listed_incidents(installation: Installation) -> set[str]:
    done = installation.run("inkgate-sightings", "list", "--json")
    return {json.loads(line)["incident"] for line in done.stdout.splitlines()}


def test_fault_sigterm_loses_nothing_of_the_journal(installation: Installation) -> None:
    server = Icap(installation, "stop_seconds = 0\n", workers=2)
    told = set()
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(40)]
        # Handlers that wait for the rest of a body must not delay what is to be written.
        for client in clients[::4]:
            client.sendall(UNFINISHED)
        for client in clients[1::2] * 3:
            client.sendall(LISTED)
            told.add(read_answer(client).fields["x-inkgate-incident"])
        server.close()
    assert server.process.returncode == 0
    assert len(told) == 60
    assert listed_incidents(installation) == told


def test_full_worker_leaves_connections_to_those_that_have_room(
    installation: Installation,
) -> None:
    server = Icap(installation, "connections = 10\n", workers=4)
    try:
        with ExitStack() as stack:
            busy = [occupy(server, stack) for _ in range(40)]
            for _ in range(5):
                with server.connect() as client:
                    assert read_answer(client).status == 503
            # One place in one worker, which may be any.
            busy[7].close()
            wait_until(lambda: server.ask(options("reqmod")).status == 200, "room for one more")
            for client in busy[:7]:
                client.sendall(REST_OF_BODY)
                assert read_answer(client).body == b"abcde"
        wait_until(lambda: server.ask(options("reqmod")).status == 200, "room again")
    finally:
        server.close()


def cpu_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def test_fault_no_descriptor_is_left_and_the_worker_does_not_spin(
    installation: Installation,
) -> None:
    server = Icap(installation)
    try:
        (worker,) = server.workers()
        used = len(list(Path(f"/proc/{worker}/fd").iterdir()))
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + 10, used + 10))
        with ExitStack() as stack:
            busy = [occupy(server, stack) for _ in range(10)]
            waiting = [stack.enter_context(server.connect()) for _ in range(5)]
            wait_until(lambda: "no file descriptor is left" in server.log, "that line")
            before, started = cpu_seconds(worker), time.process_time()
            # This process spins. One that did so, too, would get as much of the processors.
            while time.process_time() - started < 1:
                pass
            assert cpu_seconds(worker) - before < 0.3
            assert server.log.count("no file descriptor is left") == 1
            for client in busy[:8]:
                client.close()
            for client in waiting:
                client.sendall(options("reqmod"))
                assert read_answer(client).status == 200
        assert server.ask(LISTED).http_status == 403
    finally:
        server.close()


def test_fault_fewer_descriptors_than_connections_lower_the_cap(
    installation: Installation,
) -> None:
    server = Icap(installation)
    try:
        (old,) = server.workers()
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (100, 100))
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: old not in server.workers(), "the end of the old worker")
        assert "open files are limited to 100" in server.log
        with ExitStack() as stack:
            clients = [stack.enter_context(server.connect()) for _ in range(60)]
            clients[-1].sendall(LISTED)
            assert read_answer(clients[-1]).http_status == 403
            assert all(client.recv(1) == b"" for client in clients[:24])
        assert "no file descriptor is left" not in server.log
    finally:
        server.close()


def test_limit_of_open_files_is_raised_where_it_may_be(installation: Installation) -> None:
    server = Icap(installation, "connections = 2000\n")
    try:
        (old,) = server.workers()
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (256, 4096))
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: old not in server.workers(), "the end of the old worker")
        (new,) = server.workers()
        assert resource.prlimit(new, resource.RLIMIT_NOFILE) == (2064, 4096)
        assert "open files" not in server.log
    finally:
        server.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_server_that_root_starts_serves_as_squids_user(installation: Installation) -> None:
    run, user = installation.folder / "run", pwd.getpwnam("proxy").pw_uid
    give(run, "proxy")
    server = Icap(installation, workers=2)
    try:
        pids = [server.process.pid, *server.workers()]
        for pid in pids:
            (ids,) = re.findall(
                r"^Uid:\t(.*)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE
            )
            assert set(ids.split()) == {str(user)}
        assert "was started as root: serving as user proxy" in server.log
        answer = server.ask(LISTED)
        assert installation.sightings(answer.fields["x-inkgate-incident"])
        assert {path.stat().st_uid for path in run.rglob("*")} == {user}
    finally:
        server.close()
    assert "warning" not in server.log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
def test_server_that_root_starts_for_folders_of_several_users_is_refused(
    installation: Installation,
) -> None:
    give(installation.folder / "run", "proxy")
    (installation.folder / "other").mkdir()
    text = installation.config.read_text()
    installation.config.write_text(text.replace('"run/sightings.db"', '"other/sightings.db"'))
    done = installation.run("inkgate-icap")
    assert done.returncode == 2
    assert "these folders belong to different users" in done.stderr
    assert len(done.stderr.splitlines()) == 1
