"""README's steps to the letter on fresh Debian 12 and 13, then everything around it is broken.

    python tests/trials/distributions.py [--suites bookworm trixie] [--fresh]

Makes a root file system by debootstrap (kept for the next time), installs into it what README
says with README's own commands, opens `localnet` as Debian's squid.conf says, and asks through
Squid: of what is listed no server may see anything. Then Python is taken away, the package, the
settings; lines kill the helper. Squid must live, other requests must be served, and each fault
must be said. Squid and servers run in name spaces of their own and reach nothing outside.

Needs root, debootstrap and a mirror of Debian.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / ".inkgate" / "trial-roots"
LACKING: Final = 77
SUITES: Final = ("bookworm", "trixie")
MIRROR: Final = os.environ.get("INKGATE_DEBIAN_MIRROR", "http://deb.debian.org/debian")
# What README names as needed, and Squid.
NEEDED: Final = ("git", "python3-venv", "squid")
LISTED: Final = "www.listed.example"
OTHER: Final = "fine.example"
CLIENT: Final = "10.20.30.40"  # of Debian's localnet
SERVER: Final = "198.51.100.20"  # Debian 13 lets no client ask for 127.0.0.1
PORT: Final = 3128
INSIDE: Final = "--inside"
_SECONDS: Final = 120


class TrialError(Exception):
    """What the trial shows to be wrong."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suites", nargs="+", default=list(SUITES))
    parser.add_argument("--fresh", action="store_true", help="bootstrap anew")
    parser.add_argument(INSIDE, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inside:
        inside(options.inside)
        return
    if os.getuid() or not shutil.which("debootstrap"):
        print("needs root and debootstrap (apt-get install debootstrap)")
        sys.exit(LACKING)
    for suite in options.suites:
        root = installed(suite, fresh=options.fresh)
        command = [sys.executable, __file__, INSIDE, root]
        # A network with nothing but itself, and processes that end with this one.
        done = subprocess.run(
            ["unshare", "-n", "-m", "-p", "-f", "--kill-child", *command], check=False
        )
        if done.returncode:
            sys.exit(1)
        print(f"{suite}: all is well", flush=True)


# Outside: from nothing to README's last step but one.


def installed(suite: str, *, fresh: bool) -> Path:
    """A root file system with Squid and inkgate, as README's steps 1 to 3 make it."""
    base, root = STORE / f"{suite}.base", STORE / suite
    if fresh or not (base / "made").exists():
        remove(base)
        base.mkdir(parents=True)
        quietly(["debootstrap", "--variant=minbase", suite, base, MIRROR])
        with mounted(base):
            in_root(base, "apt-get update", network=True)
            packages = " ".join(("ca-certificates", *NEEDED))
            install = f"apt-get install -y --no-install-recommends {packages}"
            in_root(base, f"DEBIAN_FRONTEND=noninteractive {install}", network=True)
        (base / "made").touch()
    remove(root)
    quietly(["cp", "-a", "--reflink=auto", base, root])
    source = root / "srv" / "inkgate"
    quietly(["git", "clone", "-q", ROOT, source])
    events = root / "srv" / "misp-export"
    events.mkdir(parents=True)
    listed = {"uuid": "2b1f2f66-9a07-4b0f-8a4c-0d1b3d8b7c01", "type": "domain", "to_ids": True}
    event = {"uuid": "2b1f2f66-9a07-4b0f-8a4c-0d1b3d8b7c00", "info": "trial", "date": "2026-01-01"}
    attributes = [{**listed, "value": "listed.example"}]
    (events / "event.json").write_text(json.dumps({"Event": {**event, "Attribute": attributes}}))
    install, folders, settings, *_ = readme_steps()
    with mounted(root):
        in_root(root, f"cd /srv/inkgate\n{install}", network=True)
        in_root(root, folders)
    # The sample's names are reserved, which MISP's warninglists would drop.
    settings = settings.replace("[rules]\n", '[rules]\nwarninglists = { default = "off" }\n')
    (root / "etc/inkgate/inkgate.toml").write_text(settings)
    return root


def readme_steps() -> list[str]:
    """The blocks of README's section on one's own Squid, in their order."""
    text = (ROOT / "README.md").read_text()
    section = text.partition("## Use it with your Squid")[2].partition("\nWhere rules are made")[0]
    blocks = re.findall(r"^ *```(?:toml)?\n(.*?)^ *```$", section, re.MULTILINE | re.DOTALL)
    steps = [re.sub(r"^   ", "", block, flags=re.MULTILINE) for block in blocks]
    if len(steps) != 4:
        raise TrialError(f"README has {len(steps)} blocks of steps where this trial knows 4")
    return steps


def open_localnet(root: Path) -> None:
    """Take the comment sign away where Debian's own drop-in says so."""
    path = root / "etc/squid/conf.d/debian.conf"
    text = path.read_text()
    opened = re.sub(r"^#\s*(http_access allow localnet)$", r"\1", text, flags=re.MULTILINE)
    if opened == text:
        raise TrialError(f"{path} has no `http_access allow localnet` to open")
    path.write_text(opened)


# Inside: in name spaces of its own.


def inside(root: Path) -> None:
    """README's last step, and everything that is asked and broken then."""
    quietly(["ip", "link", "set", "lo", "up"])
    for address in (CLIENT, SERVER):
        quietly(["ip", "address", "add", f"{address}/32", "dev", "lo"])
    names = [LISTED, "listed.example", OTHER]
    with (root / "etc/hosts").open("a") as hosts:
        hosts.write("".join(f"{SERVER} {name}\n" for name in names))
    with mounted(root), origin() as seen:
        open_localnet(root)
        start_squid(root)
        keys, refresh, *rest = readme_steps()[3].strip().splitlines()
        for step in (keys, refresh, *rest):
            said = in_root(root, f"PATH=$PATH:/opt/inkgate/bin\n{step}")
            print(f"  {step}: {said.strip().splitlines()[-1:] or 'done'}", flush=True)
        squid = Squid(root, seen)
        for trial in (asked, without_python, without_package, with_broken_settings, poisoned):
            trial(squid)
            print(f"  {trial.__name__.replace('_', ' ')}: as it should be", flush=True)
        in_root(root, "squid -k shutdown")


class Squid:
    """The Squid of a root file system.

    Attributes:
        root: its root folder.
        seen: what servers were asked, which grows.
    """

    def __init__(self, root: Path, seen: list[str]) -> None:
        self.root = root
        self.seen = seen
        self.pid = self._pid()

    def ask(self, method: str, host: str, body: bytes = b"") -> int:
        """The status of an answer, as a client of `localnet` gets it."""
        target = f"{host}:443" if method == "CONNECT" else f"http://{host}/"
        head = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
        with socket.create_connection(("127.0.0.1", PORT), 60, (CLIENT, 0)) as client:
            client.sendall(f"{head}Connection: close\r\n\r\n".encode() + body)
            return int(client.makefile("rb").readline().split()[1])

    def restart(self) -> None:
        """Stop Squid and start it anew."""
        in_root(self.root, "squid -k shutdown")
        wait(lambda: not self._runs(), "Squid to end")
        start_squid(self.root)
        self.pid = self._pid()

    def must_live(self) -> None:
        """Squid's process is the one that it was."""
        if self.pid != self._pid() or not self._runs():
            raise TrialError("Squid ended")

    def log(self) -> str:
        """Squid's cache.log."""
        return (self.root / "var/log/squid/cache.log").read_text(errors="replace")

    def must_say(self, words: str) -> None:
        """Wait for a dated line of inkgate's in the log."""
        line = re.compile(rf"^\d{{4}}-\d\d-\d\dT\S+ inkgate-\w+\[\d+\]: .*{words}", re.MULTILINE)
        wait(lambda: line.search(self.log()), f"a line with {words!r} in cache.log")

    def status(self) -> dict[str, Any]:
        """`inkgate status`, by row."""
        said = in_root(self.root, "/opt/inkgate/bin/inkgate status --json", check=False)
        return {row["name"]: row for row in json.loads(said)["rows"]}

    def _runs(self) -> bool:
        try:
            words = (self.root / f"proc/{self.pid}/stat").read_text().split()
        except OSError:
            return False
        # Its parent, which this trial started, has ended; nobody asks how Squid ended.
        return words[2] != "Z"

    def _pid(self) -> int:
        return int((self.root / "run/squid.pid").read_text())


def asked(squid: Squid) -> None:
    """What is listed is refused before any server is asked; its neighbour is not."""
    for method, body in (("GET", b""), ("POST", b"a=secret"), ("CONNECT", b"")):
        must_be(squid.ask(method, LISTED, body), 403, f"{method} of a listed name")
    if squid.seen:
        raise TrialError(f"servers were asked: {squid.seen}")
    must_be(squid.ask("GET", OTHER), 200, "GET of another name")
    if squid.seen != [f"GET {OTHER}"]:
        raise TrialError(f"servers were asked: {squid.seen}")
    said = in_root(squid.root, "/opt/inkgate/bin/inkgate squid check")
    print(f"    {said.strip().splitlines()[-1]}", flush=True)
    squid.must_say("use of serial 1")


def must_be(found: int, right: int, what: str) -> None:
    if found != right:
        raise TrialError(f"{what}: {found}, not {right}")


def broken(squid: Squid, break_it: Callable[[], None], mend: Callable[[], None], said: str) -> None:
    """Squid starts with something broken, lives, serves and says it; mended, it blocks again."""
    break_it()
    squid.restart()
    # `fail` is open.
    for name in (LISTED, OTHER, LISTED):
        must_be(squid.ask("GET", name), 200, f"GET of {name} while inkgate cannot tell")
    squid.must_live()
    squid.must_say(said)
    mend()
    wait(lambda: squid.ask("GET", LISTED) == 403, "the listed name to be refused again")
    squid.must_live()
    squid.must_say("recovered: ")
    squid.seen.clear()


def moved(path: Path, to: Path) -> Callable[[], None]:
    """Moves a file or folder when it is called."""

    def move() -> None:
        path.rename(to)

    return move


def written(path: Path, text: str) -> Callable[[], None]:
    """Writes a file when it is called."""

    def write() -> None:
        path.write_text(text)

    return write


def without_python(squid: Squid) -> None:
    """The interpreter is another one after an upgrade of Debian."""
    python = (squid.root / "usr/bin/python3").resolve()
    if not python.is_relative_to(squid.root):
        python = squid.root / "usr/bin" / python.name
    away = python.with_name("python-away")
    broken(squid, moved(python, away), moved(away, python), "critical: helper-not-started")
    found = squid.status()["helper-not-started"]
    if not found["data"]["count"]:
        raise TrialError(f"inkgate status does not tell of the helper: {found}")


def without_package(squid: Squid) -> None:
    """The package was removed."""
    (package,) = (squid.root / "opt/inkgate/lib").glob("python3.*/site-packages/inkgate")
    away = package.with_name("away")
    broken(squid, moved(package, away), moved(away, package), "critical: helper-not-started")


def with_broken_settings(squid: Squid) -> None:
    """The settings are no TOML any more."""
    settings = squid.root / "etc/inkgate/inkgate.toml"
    kept = settings.read_text()
    broken(
        squid,
        written(settings, "["),
        written(settings, kept),
        "critical: no-rules: .*is not TOML",
    )
    squid.restart()


def poisoned(squid: Squid) -> None:
    """Lines that kill the helper, ten in a row: Squid lives, and other requests are served."""
    helper = squid.root / "opt/inkgate/bin/inkgate-helper"
    kept = helper.read_text()
    # The real helper, but one name ends it at once.
    helper.write_text(
        kept.splitlines()[0] + "\nimport os\nfrom inkgate.helper import lookups\n"
        "parse = lookups.parse_request\n"
        "lookups.parse_request = lambda line: os._exit(9) if b'poison' in line else parse(line)\n"
        "from inkgate.helper.__main__ import main\nmain()\n"
    )
    squid.restart()
    for number in range(10):
        squid.ask("GET", f"poison{number}.example")
        must_be(squid.ask("GET", OTHER), 200, "GET of another name")
        must_be(squid.ask("GET", LISTED), 403, "GET of a listed name")
    squid.must_live()
    squid.must_say("critical: process-died")
    found = squid.status()["process-died"]
    if found["data"]["count"] != 10:
        raise TrialError(f"inkgate status counts {found['data']['count']} helpers that died")
    helper.write_text(kept)


# Both.


@contextmanager
def origin() -> Iterator[list[str]]:
    """A server for all names, and what it was asked."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(f"{self.command} {self.headers['Host']}")
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    servers = [ThreadingHTTPServer((SERVER, port), Handler) for port in (80, 443)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield seen
    finally:
        for server in servers:
            server.shutdown()


def start_squid(root: Path) -> None:
    """Start it as Debian's unit does, and wait until it listens."""
    in_root(root, "squid -sYC")

    def listens() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", PORT)) == 0

    wait(listens, "Squid to listen")


@contextmanager
def mounted(root: Path) -> Iterator[None]:
    """The root's /proc, and its /dev/shm, which Squid needs."""
    (root / "dev/shm").mkdir(exist_ok=True)
    mounts = {"proc": ["-t", "proc"], "dev/shm": ["-t", "tmpfs", "-o", "mode=1777"]}
    for place, options in mounts.items():
        quietly(["mount", *options, "inkgate-trial", root / place])
    try:
        yield
    finally:
        for place in mounts:
            subprocess.run(["umount", "-l", root / place], check=False)


def in_root(root: Path, script: str, *, network: bool = False, check: bool = True) -> str:
    """Run a script in the root, as root; what it printed.

    Args:
        network: let names be resolved as here.
    """
    handed: dict[str, str] = {}
    if network:
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        keep = ("http_proxy", "https_proxy", "no_proxy", "PIP_INDEX_URL")
        handed = {name: os.environ[name] for name in keep if name in os.environ}
        # Where packages come through somebody who has a certificate of their own.
        if certificates := os.environ.get("PIP_CERT"):
            shutil.copy(certificates, root / "srv/certificates.pem")
            handed["PIP_CERT"] = "/srv/certificates.pem"
    done = subprocess.run(
        ["chroot", root, "/bin/sh", "-ec", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "LC_ALL": "C", **handed},
    )
    if check and done.returncode:
        raise TrialError(f"{script}\nended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


def remove(folder: Path) -> None:
    """Remove a root; nothing may be mounted in it."""
    mounts = Path("/proc/mounts").read_text()
    if f" {folder}/" in mounts:
        raise TrialError(f"{folder}: something is mounted there; unmount it")
    shutil.rmtree(folder, ignore_errors=True)


def quietly(command: list[Any]) -> None:
    """Run a command; what it printed is shown if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TrialError(f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def wait(condition: Callable[[], Any], what: str) -> None:
    """Ask until the answer is true."""
    end = time.monotonic() + _SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TrialError(f"this never came in {_SECONDS} s: {what}")
        time.sleep(0.1)


if __name__ == "__main__":
    try:
        main()
    except TrialError as error:
        print(f"FAILED: {error}")
        sys.exit(1)
