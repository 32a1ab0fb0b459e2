"""kill -9 in the middle: the old set or the new one answers, never neither, never a mixture."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from support.installation import BIN, Installation, attribute
from support.measured import measure
from support.terminal import heed_interrupts
from support.waiting import wait_for_work, wait_until

pytestmark = pytest.mark.slow

KILLED = Path(__file__).parents[1] / "support" / "killed.py"
POINTS = 50
SLICES = 5


def write_version(installation: Installation, version: int, size: int = 12) -> None:
    installation.add(
        "all",
        *(attribute("domain", f"v{version}-{n}.example") for n in range(size)),
        attribute("url", f"http://v{version}.example/x"),
        attribute("domain", "always.example"),
    )


def answering(installation: Installation, versions: range, size: int = 12) -> int:
    """The one version that answers, whole; anything else is a failure."""
    matcher = installation.matcher()
    try:
        found = {
            version: sum(
                matcher.look_up("domain", "name", f"v{version}-{n}.example".encode()) is not None
                for n in range(size)
            )
            + len(matcher.url(f"http://v{version}.example/x"))
            for version in versions
        }
        assert matcher.look_up("domain", "name", b"always.example")
    finally:
        matcher.generation.close()
    (version,) = (v for v, count in found.items() if count)
    assert found[version] == size + 1
    return version


def run_killed(installation: Installation, point: int, *arguments: str) -> int:
    done = subprocess.run(
        [
            sys.executable,
            KILLED,
            str(point),
            installation.folder / "points",
            "--config",
            installation.config,
            *arguments,
        ],
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode


def all_points(installation: Installation, *arguments: str) -> int:
    assert run_killed(installation, 0, *arguments) == 0
    return int((installation.folder / "points").read_text())


@pytest.mark.parametrize("part", range(SLICES))
def test_refresh_killed_at_every_kind_of_point(installation: Installation, part: int) -> None:
    write_version(installation, 0)
    installation.refresh()
    write_version(installation, 1)
    total = all_points(installation, "refresh")
    assert total > POINTS
    chance = random.Random(part)
    version = 1
    for point in sorted(chance.sample(range(1, total + 1), POINTS // SLICES)):
        write_version(installation, version + 1)
        status = run_killed(installation, point, "refresh")
        # A refresh may have fewer points than the counted one: then it came to its end.
        assert status in (0, -signal.SIGKILL)
        assert answering(installation, range(version + 2)) in (version, version + 1)
        installation.refresh()
        version += 1
        assert answering(installation, range(version + 1)) == version


@pytest.mark.parametrize("part", range(SLICES))
def test_install_killed_at_every_kind_of_point(installation: Installation, part: int) -> None:
    subscriber = Installation()
    try:
        for name in ("token_file", "public_key_file"):
            source: Path = getattr(installation.places, name)
            getattr(subscriber.places, name).write_bytes(source.read_bytes())
        packs = []
        for version in range(POINTS // SLICES + 2):
            write_version(installation, version)
            installation.refresh()
            packs.append(installation.folder / f"{version}.inkgate")
            assert installation.run("inkgate-rules", "export", str(packs[-1])).returncode == 0
        assert subscriber.run("inkgate-rules", "install", str(packs[0])).returncode == 0
        total = all_points(subscriber, "install", str(packs[1]))
        chance = random.Random(part)
        points = [chance.randint(1, total) for _ in packs[2:]]
        for version, point in enumerate(points, 2):
            run_killed(subscriber, point, "install", str(packs[version]))
            assert answering(subscriber, range(version + 1)) in (version - 1, version)
            done = subscriber.run("inkgate-rules", "install", str(packs[version]))
            assert done.returncode == 0, done.stderr
            assert answering(subscriber, range(version + 1)) == version
    finally:
        subscriber.close()


def test_refresh_on_all_cores_killed_at_random_moments(installation: Installation) -> None:
    """Large enough for worker processes; they end with their parent, and its work is kept."""
    size = 1200
    write_version(installation, 0, size)
    command = [BIN / "inkgate-rules", "--config", installation.config, "refresh"]
    whole = measure(command).cpu_seconds
    chance = random.Random(7)
    for version in range(1, 7):
        write_version(installation, version, size)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for_work(process, chance.uniform(0.1, 1) * whole)
        process.kill()
        process.wait()
        assert answering(installation, range(version + 1), size) in (version - 1, version)
        installation.refresh()
        assert answering(installation, range(version + 1), size) == version


def test_ctrl_c_ends_a_refresh_on_all_cores_and_keeps_what_was_derived(
    installation: Installation,
) -> None:
    write_version(installation, 0, 1200)
    command = [BIN / "inkgate-rules", "--config", installation.config, "refresh", "--full"]
    dear = ["--iterations", "8000"]
    process = subprocess.Popen(
        [*command, *dear],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509 (it only sets a signal)
    )
    derived = installation.places.publisher / "derived"
    try:
        wait_until(
            lambda: any(f.stat().st_size > 30_000 for f in derived.glob("*.mdb")), "some results"
        )
        # As a terminal does: to the command and all its workers.
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    assert process.returncode == 1
    assert said.splitlines()[-1] == "Aborted!"
    assert "Traceback" not in said
    done = subprocess.run([*command, *dear], capture_output=True, text=True, check=True)
    (count,) = (int(line.split()[1]) for line in done.stdout.splitlines() if "derived" in line)
    assert 0 < count < 1150
    assert answering(installation, range(1), 1200) == 0
