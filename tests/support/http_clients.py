"""What HTTP clients make of replies, by running them: the bodies and names that they save.

Programs: curl, wget, aria2c, Chromium and Firefox, each if it is installed. The origin is
this process, on 127.0.0.1.
"""

from __future__ import annotations

import json
import os
import shutil
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

PROGRAMS = {
    "curl": "curl",
    "wget": "wget",
    "aria2c": "aria2c",
    "chromium": "chromium",
    "firefox": "firefox-esr",
}
BROWSERS = ("chromium", "firefox")
_TYPE = b"Content-Type: application/octet-stream"
_FETCHES = """<!doctype html><script type=module>
const told = (path, body) => fetch(path, {method: 'POST', body, cache: 'no-store'});
for (let n = 0; n < COUNT; n++) {
  const got = []; let error = 0;
  try {
    const signal = AbortSignal.timeout(2000);
    const reader = (await fetch('/case/' + n, {cache: 'no-store', signal})).body.getReader();
    for (;;) { const {done, value} = await reader.read(); if (done) break; got.push(value); }
  } catch { error = 1; }
  await told('/got/' + n + '/' + error, new Blob(got));
}
await told('/end', '');
</script>"""
_DOWNLOADS = """<!doctype html><body><script type=module>
for (;;) {
  const next = await (await fetch('/next', {cache: 'no-store'})).text();
  if (!next) break;
  const frame = document.createElement('iframe');
  frame.src = next; document.body.append(frame);
}
</script>"""
_CHROMIUM_PROFILE = {
    "download": {"prompt_for_download": False, "directory_upgrade": True},
    "profile": {"default_content_setting_values": {"automatic_downloads": 1}},
    "safebrowsing": {"enabled": False},
}
_FIREFOX_PROFILE = {
    # What it says only to https otherwise.
    "network.http.accept-encoding": "gzip, deflate, br, zstd",
    "browser.download.folderList": 2,
    "browser.download.useDownloadDir": True,
    "browser.download.always_ask_before_handling_new_types": False,
    "browser.download.alwaysOpenPanel": False,
    "browser.download.manager.addToRecentDocs": False,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.helperApps.neverAsk.saveToDisk": "application/octet-stream",
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.reportingpolicy.firstRun": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "app.update.enabled": False,
}


class Case(NamedTuple):
    """One reply of 200.

    Attributes:
        fields: header fields, each as it is on the wire without its end of line.
        body: as it is on the wire.
        path: the end of its URL, of ASCII.
    """

    fields: tuple[bytes, ...]
    body: bytes
    path: str = "file"


class Got(NamedTuple):
    """What a client ended up with.

    Attributes:
        body: the bytes that it kept.
        failed: whether it called the transfer failed.
    """

    body: bytes
    failed: bool


def installed(*clients: str) -> tuple[str, ...]:
    """Those of the clients (of all, without arguments) that are here."""
    return tuple(c for c in clients or PROGRAMS if shutil.which(PROGRAMS[c]))


def version(client: str) -> str:
    """What it calls itself."""
    done = subprocess.run(
        [PROGRAMS[client], "--version"], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout.splitlines()[0].strip()


class _Origin(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, cases: Sequence[Case], page: str, folder: Path) -> None:
        self.cases, self.page, self.folder = cases, page, folder
        self.got: dict[int, Got] = {}
        self.names: dict[int, str] = {}
        self.ended = threading.Event()
        self.next = 0
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def url(self, number: int) -> str:
        """Where a case is; a case's path may hold whatever a URL may."""
        return f"/case/{number}/{self.cases[number].path}"

    def next_download(self) -> str:
        """The next case's URL, when the one before is saved, or will never be."""
        if self.next:
            self.wait_for_file(self.next - 1, 2.5)
        if self.next == len(self.cases):
            self.ended.set()
            return ""
        self.next += 1
        return self.url(self.next - 1)

    def wait_for_file(self, number: int, seconds: float) -> None:
        """Note the name under which a case was saved."""
        end, wanted = time.monotonic() + seconds, self.cases[number].body
        while time.monotonic() < end:
            for path in _files(self.folder):
                if _content(path) == wanted and not _is_unfinished(path.name):
                    self.names[number] = os.fsdecode(os.fsencode(path.relative_to(self.folder)))
                    path.unlink()
                    return
            time.sleep(0.01)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _is_unfinished(name: str) -> bool:
    return name.endswith((".part", ".crdownload")) or name.startswith(".org.chromium.")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


class _Handler(socketserver.StreamRequestHandler):
    server: _Origin

    def handle(self) -> None:
        line = self.rfile.readline().split(b" ")
        length = 0
        while (field := self.rfile.readline().strip()) != b"":
            if field.lower().startswith(b"content-length:"):
                length = int(field.partition(b":")[2])
        body = self.rfile.read(length)
        parts = line[1].decode().split("/") if len(line) > 1 else [""]
        self._answer(parts, body)

    def _answer(self, parts: list[str], body: bytes) -> None:
        origin = self.server
        if parts[1:2] == ["case"]:
            case = origin.cases[int(parts[2])]
            self._send((_TYPE, *case.fields), case.body)
            return
        text = b""
        if parts[1:2] == ["page"]:
            text = origin.page.encode()
        elif parts[1:2] == ["next"]:
            text = origin.next_download().encode()
        elif parts[1:2] == ["got"]:
            origin.got[int(parts[2])] = Got(body, parts[3] == "1")
        elif parts[1:2] == ["end"]:
            origin.ended.set()
        self._send((b"Content-Type: text/html",), text)

    def _send(self, fields: Sequence[bytes], body: bytes) -> None:
        head = [b"HTTP/1.1 200 OK", b"Content-Length: %d" % len(body), b"Connection: close"]
        with suppress(OSError):
            self.wfile.write(b"\r\n".join([*head, *fields, b"", b""]) + body)


@contextmanager
def _origin(cases: Sequence[Case], page: str, folder: Path) -> Iterator[_Origin]:
    with _Origin(cases, page, folder) as origin:
        thread = threading.Thread(target=origin.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield origin
        finally:
            origin.shutdown()
            thread.join()


def bodies(client: str, cases: Sequence[Case], folder: Path) -> list[Got]:
    """What a client makes of each case's body.

    Args:
        client: a key of `PROGRAMS`.
        cases: the replies.
        folder: empty, for its files.
    """
    with _origin(cases, _FETCHES.replace("COUNT", str(len(cases))), folder) as origin:
        if client in BROWSERS:
            _browse(client, origin, folder, 20 + len(cases) * 0.1)
            return [origin.got[number] for number in range(len(cases))]
        return [
            _fetch(client, f"{origin.address}/case/{number}", folder / "out")
            for number in range(len(cases))
        ]


def _fetch(client: str, url: str, out: Path) -> Got:
    words = {
        "curl": ["curl", "-q", "-sS", "--compressed", "-m", "20", "-o", out, url],
        "wget": ["wget", "--no-config", "-q", "--compression=auto", "-t", "1", "-O", out, url],
        "aria2c": [
            *("aria2c", "--no-conf", "-q", "--http-accept-gzip=true", "-m", "1"),
            *("--allow-overwrite=true", "-d", out.parent, "-o", out.name, url),
        ],
    }[client]
    out.unlink(missing_ok=True)
    done = subprocess.run(words, capture_output=True, timeout=60, check=False)
    return Got(_content(out), done.returncode != 0)


def names(client: str, cases: Sequence[Case], folder: Path) -> list[str | None]:
    """Under which name a client saves each case, with folders if it makes some.

    Args:
        client: a key of `PROGRAMS`.
        cases: the replies; no two with one body.
        folder: empty, for its files.
    """
    saved = folder / "saved"
    saved.mkdir()
    with _origin(cases, _DOWNLOADS, saved) as origin:
        if client in BROWSERS:
            _browse(client, origin, folder, 60 + len(cases) * 5)
        else:
            for number in range(len(cases)):
                _save(client, origin.address + origin.url(number), saved)
                origin.wait_for_file(number, 0.05)
                for path in _files(saved):
                    path.unlink()
        return [origin.names.get(number) for number in range(len(cases))]


def _save(client: str, url: str, folder: Path) -> None:
    words = {
        "curl": ["curl", "-q", "-sS", "-m", "20", "-OJ", url],
        "wget": ["wget", "--no-config", "-q", "--content-disposition", "-t", "1", url],
        "aria2c": ["aria2c", "--no-conf", "-q", "-m", "1", "--auto-file-renaming=false", url],
    }[client]
    subprocess.run(
        words,
        capture_output=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )


def _browse(client: str, origin: _Origin, folder: Path, seconds: float) -> None:
    home = folder / "home"
    home.mkdir()
    start: Callable[[str, Path, Path], list[str]] = {"chromium": _chromium, "firefox": _firefox}[
        client
    ]
    words = start(f"{origin.address}/page", home, origin.folder)
    with (folder / "browser.log").open("w") as log:
        process = subprocess.Popen(
            words,
            stdout=log,
            stderr=log,
            env={**os.environ, "HOME": str(home), "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
    try:
        assert origin.ended.wait(seconds), (
            f"{client} has come to {len(origin.got)} only, see browser.log"
        )
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _chromium(url: str, home: Path, saved: Path) -> list[str]:
    profile = home / "profile"
    (profile / "Default").mkdir(parents=True)
    download = {**_CHROMIUM_PROFILE["download"], "default_directory": str(saved)}
    (profile / "Default/Preferences").write_text(
        json.dumps({**_CHROMIUM_PROFILE, "download": download})
    )
    return [
        "chromium",
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-features=InsecureDownloadWarnings",
        f"--user-data-dir={profile}",
        url,
    ]


def _firefox(url: str, home: Path, saved: Path) -> list[str]:
    profile = home / "profile"
    profile.mkdir()
    settings = {**_FIREFOX_PROFILE, "browser.download.dir": str(saved)}
    (profile / "user.js").write_text(
        "".join(
            f"user_pref({json.dumps(key)}, {json.dumps(value)});\n"
            for key, value in settings.items()
        )
    )
    return ["firefox-esr", "--headless", "--no-remote", "--profile", str(profile), url]
