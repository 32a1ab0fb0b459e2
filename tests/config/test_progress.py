"""Where no bar is drawn, what takes long is said, each stage once."""

from __future__ import annotations

import sys
import threading

import pytest

from inkgate.config.progress import NoProgress, SpokenProgress, progress_bar
from support.waiting import wait_until


def test_stage_that_takes_long_is_said_once_and_others_are_not(
    capfd: pytest.CaptureFixture[str],
) -> None:
    said = ""
    with SpokenProgress("inkgate-rules", 0.05) as progress:
        progress.start("warninglists", None)

        def more() -> str:
            nonlocal said
            said += capfd.readouterr().err
            return said

        wait_until(more, "a line")
        progress.advance(1)
        progress.start("quick", 3)
        progress.start("sealing", 1234)
        wait_until(lambda: "sealing" in more(), "another line")
    assert said == (
        "inkgate-rules: at work: warninglists\ninkgate-rules: at work: sealing, 1,234 in all\n"
    )


def test_what_ends_soon_says_nothing_and_leaves_no_thread(
    capfd: pytest.CaptureFixture[str],
) -> None:
    before = threading.active_count()
    with SpokenProgress("inkgate-rules", 600) as progress:
        progress.start("reading", None)
    wait_until(lambda: threading.active_count() == before, "the timer to end")
    assert capfd.readouterr().err == ""


def test_pipe_is_spoken_to_only_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    kinds = [
        type(progress_bar(quiet=quiet, spoken=spoken))
        for quiet, spoken in ((False, ""), (False, "inkgate-rules"), (True, "inkgate-rules"))
    ]
    assert kinds == [NoProgress, SpokenProgress, NoProgress]
