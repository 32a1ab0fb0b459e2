"""What Firefox saves of a file that it loads through a proxy, when its user resumes each time.

Firefox takes a download that has broken off up again only when it is told to. It is told by
Marionette, the protocol that its own tests use: texts of JSON behind their length, `[0, number,
command, parameters]` and `[1, number, error, result]`
(https://firefox-source-docs.mozilla.org/testing/marionette/Protocol.html).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

_TRIES: Final = 6
_SECONDS: Final = 120.0
# Downloads is what stands behind the list of downloads, and `start` behind its button.
_RESUMES: Final = """
const [url, path, tries, done] = arguments;
(async () => {
  const { Downloads } = ChromeUtils.importESModule(
    "resource://gre/modules/Downloads.sys.mjs");
  const download = await Downloads.createDownload({
    source: url, target: { path, partFilePath: path + ".part" } });
  download.tryToKeepPartialData = true;
  let resumed = 0;
  for (let at = 0; at < tries && !download.succeeded; at++) {
    resumed += download.hasPartialData ? 1 : 0;
    await download.start().catch(() => {});
  }
  return resumed;
})().then(done, error => done(String(error)));
"""


def firefox_saves(url: str, proxy: int, folder: Path) -> tuple[bytes, int]:
    """Let Firefox load a file, and resume what broke off.

    Args:
        url: the file's.
        proxy: the proxy's port on this machine.
        folder: empty, for profile and file.

    Returns:
        the longest of what it has saved at last, and how often it went on behind a part.
    """
    saved = folder / "saved"
    with _firefox(folder, proxy) as browser:
        resumed = browser.result(
            "WebDriver:ExecuteAsyncScript",
            script=_RESUMES,
            args=[url, str(saved), _TRIES],
        )
    assert isinstance(resumed, int), f"Firefox: {resumed}"
    found = (path.read_bytes() for path in folder.glob("saved*") if path.is_file())
    return max(found, key=len, default=b""), resumed


class _Browser:
    """A session of Marionette, in which scripts have Firefox's own rights."""

    def __init__(self, port: int) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=2 * _SECONDS)
        self._stream = self._connection.makefile("rb")
        self._number = 0
        self._message()
        self.result("WebDriver:NewSession", acceptInsecureCerts=True)
        self.result("WebDriver:SetTimeouts", script=int(_SECONDS * 1000))
        self.result("Marionette:SetContext", value="chrome")

    def result(self, command: str, **parameters: object) -> Any:
        """What a command gives.

        Raises:
            AssertionError: it fails.
        """
        self._number += 1
        text = json.dumps([0, self._number, command, parameters]).encode()
        self._connection.sendall(b"%d:%b" % (len(text), text))
        _, _, error, result = self._message()
        assert error is None, f"Firefox: {command}: {error}"
        return result.get("value") if isinstance(result, dict) else result

    def close(self) -> None:
        self._stream.close()
        self._connection.close()

    def _message(self) -> Any:
        digits = b""
        while (byte := self._stream.read(1)) not in (b":", b""):
            digits += byte
        assert digits, "Firefox has ended"
        return json.loads(self._stream.read(int(digits)))


@contextmanager
def _firefox(folder: Path, proxy: int) -> Iterator[_Browser]:
    profile = folder / "profile"
    profile.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings: dict[str, object] = {
        "marionette.port": port,
        "network.proxy.type": 1,
        "network.proxy.http": "127.0.0.1",
        "network.proxy.http_port": proxy,
        "network.proxy.ssl": "127.0.0.1",
        "network.proxy.ssl_port": proxy,
        "dom.security.https_only_mode": False,
        "dom.security.https_first": False,
        "browser.safebrowsing.downloads.enabled": False,
        "datareporting.policy.dataSubmissionEnabled": False,
        "app.update.disabledForTesting": True,
    }
    lines = (f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in settings.items())
    (profile / "user.js").write_text("".join(lines))
    command = ["firefox-esr", "--headless", "--no-remote", "--profile", str(profile)]
    command += ["--marionette", "--remote-allow-system-access", "about:blank"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(folder), "LC_ALL": "C.UTF-8"},
        start_new_session=True,
    )
    try:
        browser = _connected(port, process)
        try:
            yield browser
        finally:
            browser.close()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _connected(port: int, process: subprocess.Popen[bytes]) -> _Browser:
    end = time.monotonic() + _SECONDS
    while True:
        try:
            return _Browser(port)
        except ConnectionRefusedError:
            if time.monotonic() > end or process.poll() is not None:
                raise
            time.sleep(0.1)
