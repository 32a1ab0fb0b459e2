"""A real Squid that asks inkgate over ICAP only, with web servers behind it."""

from __future__ import annotations

import hashlib
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from inkgate.blocked_page.settings import SquidSettings
from inkgate.icap_server.settings import Fail, IcapSettings
from inkgate.squid_conf.bump import CERTGEN, Bump, bumping
from inkgate.squid_conf.check import SQUID_USER
from inkgate.squid_conf.fragment import fragment, name_lines
from inkgate.squid_conf.icap import icap_fragment
from inkgate.squid_conf.launching import Launching, place_launcher
from inkgate.squid_conf.minimal import minimal
from inkgate.squid_conf.squid_bugs import bug_lines, installed_squid, version_of
from support.authority import Authority
from support.icap import Icap
from support.installation import BIN, Installation
from support.logs import wait_for_line
from support.ranges import part_of
from support.squid import Reply, free_port, wait_until_listening

SQUID = shutil.which("squid", path="/usr/sbin:/usr/bin")
NAMES = ("files.example", "listed.example", "plain.example", "opened.example")
# Clients with several addresses on one machine.
_LOOPBACK = "acl loopback src 127.0.0.0/8\nhttp_access deny !loopback"


class _Origin(BaseHTTPRequestHandler):
    """Files by name; what is posted comes back as its length and digest.

    Files with the field Accept-Ranges are sent in parts to those who ask for parts.
    `/events` is a stream: another event comes when `Origin.goes_on` is set. What is posted to
    `/late` is not read for a second, and slowly then.
    """

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    timeout = 60
    server: Any

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        if path == "/events":
            self._send_events()
            return
        status = 200
        body, fields = self.server.files.get(path, (b"This page is not blocked.\n", {}))
        asked = self.headers.get("Range")
        if asked and "Accept-Ranges" in fields and (part := part_of(body, asked)):
            status, more, body = part
            fields = {**fields, **more}
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _send_events(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for number in range(3):
            self.wfile.write(b"data: %d\n\n" % number)
            self.wfile.flush()
            assert self.server.goes_on.wait(60)
            self.server.goes_on.clear()

    def do_POST(self) -> None:
        digest, length = hashlib.sha256(), 0
        is_late = self.path.endswith("/late")
        time.sleep(is_late)
        for piece in self._pieces(4096 if is_late else 1 << 16):
            digest.update(piece)
            length += len(piece)
            if is_late and length < 2 << 20:
                time.sleep(0.002)
        body = f"{length} {digest.hexdigest()}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _pieces(self, most: int) -> Any:
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length", 0))
        while left:
            piece = self.rfile.read(min(left, most))
            left -= len(piece)
            yield piece

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Of clients that go away nothing is said: downloads are broken off here."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Origin:
    """A web server on a free port of 127.0.0.1."""

    def __init__(self, certificate: Path | None = None) -> None:
        self.files: dict[str, tuple[bytes, dict[str, str]]] = {}
        self._server: Any = _Server(("127.0.0.1", 0), _Origin)
        self._server.files = self.files
        self.asked = self._server.asked = list[str]()
        self.goes_on = self._server.goes_on = threading.Event()
        if certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class IcapSquid:
    """Squid, inkgate-icap and origins over an installation; end it with `close`.

    With `is_helper` Squid asks the helper, and nobody asks inkgate-icap. With `is_caching` it
    keeps what it may in its memory.
    With `is_helper` Squid asks the helper, and nobody asks inkgate-icap. `names` are other
    settings for the helper that is asked for names inside TLS; `origin` is a server in place of
    the usual one.
    """

    def __init__(
        self,
        installation: Installation,
        *,
        bump: Bump = "none",
        fail: Fail = "open",
        settings: str = "",
        is_helper: bool = False,
        is_caching: bool = False,
        names: Path | None = None,
        origin: Any = None,
    ) -> None:
        self._is_caching = is_caching
        self.folder = installation.folder / "squid"
        self.folder.mkdir(exist_ok=True)
        self.folder.chmod(0o777)
        authority = Authority()
        self.authority = authority.write(self.folder / "ca.pem")
        self.authority.chmod(0o644)
        self.origin = origin or Origin()
        self.secure = Origin(authority.issue(self.folder / "origin.pem", *NAMES))
        self.icap = Icap(installation, settings + f'fail = "{fail}"\n', remembers=True)
        self.port = free_port()
        self._launching = launching_of(installation) if is_helper else None
        self._names = names or installation.config
        self._start_squid(bump, fail)

    def _start_squid(self, bump: Bump, fail: Fail) -> None:
        log = f"stdio:{self.folder}/access.log"
        service = f"icap://127.0.0.1:{self.icap.port}"
        icap = IcapSettings()
        lines = icap_fragment(
            service=service,
            fail=fail,
            server_header=icap.server_header,
            name_header=icap.name_header,
            log=log,
        )
        names: tuple[str, ...] = ()
        if launching := self._launching:
            shown = SquidSettings(ttl=2, negative_ttl=2)
            pages = self.folder.parent / "pages"
            lines = fragment(shown, launching=launching, pages=pages, log=log)
            names = name_lines(shown, launching._replace(config=self._names))
        version = version_of(installed_squid())
        bugs = bug_lines(SquidSettings().request_buffer_mib, version, icap=True)
        lines += "".join(f"{line}\n" for line in bugs)
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost {' '.join(NAMES)}\n")
        (self.folder / "opened").write_text("opened.example\n")
        certificates = self.folder / "certificates"
        if bump != "none":
            subprocess.run(
                [CERTGEN, "-c", "-s", certificates, "-M", "4MB"], check=True, capture_output=True
            )
            subprocess.run(["chown", "-R", SQUID_USER, certificates], check=False)
            lines += f"tls_outgoing_options cafile={self.authority}\n"
        conf = self.folder / "squid.conf"
        conf.write_text(
            minimal(
                port=self.port,
                folder=self.folder,
                fragment=lines,
                user=SQUID_USER,
                origin=self.origin.port,
                bump=bumping(
                    bump,
                    authority=self.authority,
                    certificates=certificates,
                    hosts=self.folder / "opened",
                    names=names,
                ),
            )
            .replace("cache_peer_access samples deny CONNECT", _direct(self.secure.port))
            .replace("http_access deny !localhost", _LOOPBACK)
            .replace("http_access allow localhost", "http_access allow loopback")
            .replace("cache deny all\n", "" if self._is_caching else "cache deny all\n")
        )
        assert SQUID
        name = f"inkgate{self.port}"
        self.process = subprocess.Popen([SQUID, "-N", "-f", conf, "-n", name])
        wait_until_listening(self.process, self.port, self.folder / "cache.log")

    def open(self, url: str, method: str = "GET", body: Any = None, **fields: str) -> Any:
        """A response whose body has not been read, and its connection."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        connection.request(method, url, body, headers, encode_chunked=True)
        return connection.getresponse(), connection

    def get(self, url: str, method: str = "GET", body: Any = None, **fields: str) -> Reply:
        reply, connection = self.open(url, method, body, **fields)
        try:
            return Reply(reply.status, reply.read().decode("utf-8", "replace"))
        finally:
            connection.close()

    def tls(self, name: str, path: str, *, authority: str = "") -> Reply:
        """GET over a tunnel with a name inside TLS.

        Raises:
            OSError: the tunnel or the handshake was refused.
        """
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.set_tunnel(authority or name, self.secure.port)
        connection.connect()
        context = ssl.create_default_context(cafile=str(self.authority))
        assert connection.sock
        connection.sock = context.wrap_socket(connection.sock, server_hostname=name)
        try:
            connection.request("GET", path, headers={"Host": f"{name}:{self.secure.port}"})
            reply = connection.getresponse()
            return Reply(reply.status, reply.read().decode("utf-8", "replace"))
        finally:
            connection.close()

    def access_log(self, text: str) -> str:
        return wait_for_line(self.folder / "access.log", text)

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        self.icap.close()
        self.origin.close()
        self.secure.close()


def launching_of(installation: Installation) -> Launching:
    """The helper, with all that Squid's user needs of it."""
    installation.run("inkgate-squid-conf", "pages")
    run = installation.folder / "run"
    for path in (run, *run.rglob("*")):
        shutil.chown(path, SQUID_USER, SQUID_USER)
    launcher = installation.folder / "launcher"
    place_launcher(launcher, "open")
    return Launching(launcher, BIN / "inkgate-helper", installation.config)


def _direct(port: int) -> str:
    """The TLS origin plays itself."""
    return (
        f"acl secure_origin port {port}\n"
        "cache_peer_access samples deny secure_origin\n"
        "always_direct allow secure_origin\n"
        "cache_peer_access samples deny CONNECT"
    )
