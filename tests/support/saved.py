"""What Chromium saves of a file that it loads through a proxy, resuming as it does by itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

# It takes a download that has broken off up again by itself, some seconds later each time.
_QUIET_SECONDS: Final = 12.0
_MOST_SECONDS: Final = 90.0


def chromium_saves(url: str, proxy: int, folder: Path) -> bytes:
    """Let Chromium load a file.

    Args:
        url: the file's.
        proxy: the proxy's port on this machine.
        folder: empty, for profile and file.

    Returns:
        the longest of what lies in its download folder at last.
    """
    saved, profile = folder / "downloads", folder / "profile"
    saved.mkdir()
    (profile / "Default").mkdir(parents=True)
    (profile / "Default" / "Preferences").write_text(
        json.dumps(
            {
                "download": {"prompt_for_download": False, "default_directory": str(saved)},
                "safebrowsing": {"enabled": False},
            }
        )
    )
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    command += ["--disable-dev-shm-usage", "--disable-background-networking"]
    command += [f"--proxy-server=http://127.0.0.1:{proxy}", "--ignore-certificate-errors"]
    command += ["--disable-features=InsecureDownloadWarnings,HttpsUpgrades"]
    process = subprocess.Popen(
        [*command, f"--user-data-dir={profile}", url],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder)},
        start_new_session=True,
    )
    try:
        _wait_until_quiet(saved)
        return max((path.read_bytes() for path in saved.iterdir()), key=len, default=b"")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_quiet(folder: Path) -> None:
    """Until the file has its name, or nothing has changed for a while."""
    begun = changed = time.monotonic()
    before: object = None
    while (now := time.monotonic()) - changed < _QUIET_SECONDS and now - begun < _MOST_SECONDS:
        found = {path.name: path.stat().st_size for path in _files(folder)}
        if any(not name.endswith(".crdownload") and name[0] != "." for name in found):
            return
        if found != before:
            before, changed = found, now
        time.sleep(0.2)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.exists()]
