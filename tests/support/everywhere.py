"""A real Squid whose every request goes to one local server, whatever its name."""

from __future__ import annotations

import shutil
import signal
import subprocess
from http.client import HTTPConnection

from inkgate.squid_conf.origin import start_origin
from support.installation import Installation
from support.squid import Reply, free_port, wait_until_listening

_TO_ORIGIN = """\
cache_peer 127.0.0.1 parent {port} 0 no-query no-digest originserver name=everything
never_direct allow all
dns_nameservers 127.0.0.1
dns_timeout 1 seconds
"""


class SquidForEverything:
    """Configured as an operator would: `inkgate-squid-conf minimal`, with one insertion."""

    def __init__(self, installation: Installation) -> None:
        self.port = free_port()
        self.folder = installation.folder / "squid"
        self.folder.mkdir(exist_ok=True)
        shutil.chown(self.folder, "proxy", "proxy")
        shutil.chown(installation.folder / "run", "proxy", "proxy")
        installation.run("inkgate-squid-conf", "pages")
        printed = installation.run(
            "inkgate-squid-conf", "minimal", "--port", str(self.port), "--folder", str(self.folder)
        ).stdout
        conf = installation.folder / "everything.conf"
        origin = _TO_ORIGIN.format(port=start_origin())
        conf.write_text(
            printed.replace("http_access allow localhost", origin + "http_access allow localhost")
        )
        squid = shutil.which("squid", path="/usr/sbin:/usr/bin") or "squid"
        self._process = subprocess.Popen([squid, "-N", "-f", conf, "-n", f"e{self.port}"])
        wait_until_listening(self._process, self.port, self.folder / "cache.log")

    def get(self, url: str) -> Reply:
        """Ask for a URL as a client of a proxy does."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest("GET", url, skip_host=True, skip_accept_encoding=True)
            connection.putheader("Host", "ignored.example")
            connection.endheaders()
            reply = connection.getresponse()
            return Reply(reply.status, reply.read().decode("utf-8", "replace"))
        finally:
            connection.close()

    def close(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)
