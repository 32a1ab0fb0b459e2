"""What happens when: files that processes have mapped are removed, replaced or cut off.

An access to a mapped page that was cut off ends a process (SIGBUS): not the helper.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support.helper_faults import BLOCKS, LISTED, PASSES, UNABLE, Start, said
from support.helper_process import HelperProcess
from support.installation import Installation
from support.status import status, wait_for_now
from support.waiting import wait_until

# A process or several for each test.
pytestmark = pytest.mark.slow

OTHER = "http://other.example/"


def cache_file(installation: Installation, ending: str = ".mdb") -> Path:
    (path,) = installation.places.key_cache.glob(f"*{ending}")
    return path


def shared_by(first: HelperProcess, second: HelperProcess) -> Callable[[], bool]:
    """Whether a new name that one helper has derived is known to the other."""
    numbers = itertools.count()

    def is_shared() -> bool:
        url = f"http://newer{next(numbers)}.example/"
        assert first.ask(url) == [PASSES]
        before = second.derivations
        assert second.ask(url) == [PASSES]
        return second.derivations == before

    return is_shared


@pytest.mark.parametrize("ending", [".mdb", ".mdb-lock"])
@pytest.mark.parametrize("size", [0, 4096])
def test_key_cache_that_is_cut_off_while_in_use(
    listed: Installation, start: Start, ending: str, size: int
) -> None:
    first, second = start(), start()
    for one in (first, second):
        assert one.ask(LISTED) == [BLOCKS]
    # Nothing is on its way to the file any more.
    wait_until(shared_by(first, second), "the file to be shared")
    os.truncate(cache_file(listed, ending), size)
    for one in (first, second):
        assert one.ask("http://new.example/", LISTED) == [PASSES, BLOCKS]
    wait_until(lambda: status(listed).count("key-cache-failed") >= 1, "the fault to be counted")
    found = wait_for_now(listed, "key-cache-failed", lasts=False)
    assert "process-died" not in found.rows
    wait_until(shared_by(first, second), "the new file to be shared")
    logs = [one.close() for one in (first, second)]
    assert any(": warning: key-cache-failed: " in log for log in logs)


@pytest.mark.parametrize("how", ["file", "folder", "moved"])
def test_key_cache_that_is_removed_while_in_use(
    listed: Installation, start: Start, how: str
) -> None:
    helper = start()
    assert helper.ask(LISTED) == [BLOCKS]
    if how == "file":
        cache_file(listed).unlink()
    elif how == "folder":
        shutil.rmtree(listed.places.key_cache)
    else:
        listed.places.key_cache.rename(listed.folder / "aside")
    wait_until(lambda: status(listed).count("key-cache-failed") == 1, "the fault to be counted")
    wait_for_now(listed, "key-cache-failed", lasts=False)
    assert helper.ask(OTHER, LISTED) == [PASSES, BLOCKS]
    wait_until(shared_by(helper, start()), "the new file to be shared")
    log = said(helper, "key-cache-failed", "warning")
    assert f"{listed.places.key_cache}: removed or replaced while in use" in log
    assert "recovered: key-cache-failed: " in log


def test_refresh_of_an_epoch_takes_no_key_cache_away(listed: Installation, start: Start) -> None:
    first, second = start(), start()
    assert [one.ask(LISTED) for one in (first, second)] == [[BLOCKS]] * 2
    listed.refresh(new_epoch=True)
    for one in (first, second):
        wait_until(lambda: status(listed).rows["helper"]["data"]["oldest_serial"] == 2, "serial 2")
        assert one.ask(LISTED, OTHER) == [BLOCKS, PASSES]
    for one in (first, second):
        assert "key-cache-failed" not in one.close()


@pytest.mark.parametrize("name", ["rules.mdb", "suffix.gate"])
@pytest.mark.parametrize("part", [0, 0.5])
def test_rules_that_are_cut_off_while_in_use(
    listed: Installation, start: Start, name: str, part: float
) -> None:
    helper = start()
    assert helper.ask(LISTED) == [BLOCKS]
    path = listed.places.installed / "current" / name
    os.truncate(path, int(path.stat().st_size * part))
    assert helper.ask(LISTED if name == "rules.mdb" else OTHER) == [UNABLE]
    found = status(listed)
    assert "process-died" not in found.rows
    assert (found.code, found.level("rule-damaged")) == (2, 2)
    # Nor does the next one die of it, and a refresh mends it.
    second = start()
    assert second.ask(LISTED) == [UNABLE]
    assert status(listed).level("no-rules") == 2
    listed.refresh()
    for one in (helper, second):
        one.wait_for(LISTED, BLOCKS)
    assert "bad-rules" in said(second, "no-rules")


@pytest.mark.parametrize("how", ["cut off", "file", "folder", "moved"])
def test_counters_that_are_removed_while_in_use(
    listed: Installation, start: Start, how: str
) -> None:
    folder = listed.folder / "run/health"
    helper = start()
    assert helper.ask(LISTED, OTHER) == [BLOCKS, PASSES]
    wait_until(lambda: status(listed).rows["by-fail"]["data"]["requests"] == 2, "both counted")
    (path,) = folder.glob("inkgate-helper-*.counters")
    match how:
        case "cut off":
            os.truncate(path, 0)
        case "file":
            path.unlink()
        case "folder":
            shutil.rmtree(folder)
        case _:
            folder.rename(listed.folder / "aside")
    assert helper.ask(OTHER, LISTED) == [PASSES, BLOCKS]
    found = wait_until(
        lambda: (
            (s := status(listed)).rows["by-fail"]["data"]["requests"] == 4
            and s.count("counters-moved") == 1
            and s
        ),
        "all four to be counted",
    )
    assert found.code == 1
    assert found.rows["helper"]["data"]["oldest_serial"] == 1
    assert "process-died" not in found.rows
    if how == "moved":
        # What comes back is not taken for a process that died, nor counted twice.
        shutil.copytree(listed.folder / "aside", folder, dirs_exist_ok=True)
        second = start()
        assert second.ask(LISTED) == [BLOCKS]
        found = status(listed)
        assert "process-died" not in found.rows
    assert str(folder) in said(helper, "counters-moved", "warning")


def test_counters_whose_folder_comes_later(listed: Installation, start: Start) -> None:
    place = listed.folder / "run/health"
    place.write_text("in the way")
    helper = start()
    assert helper.ask(LISTED) == [BLOCKS]
    place.unlink()
    wait_until(lambda: status(listed).rows["by-fail"]["data"]["requests"] == 1, "the request")
    log = helper.close()
    assert "warning: no counters in" in log
    assert "recovered: counters are kept in" in log
