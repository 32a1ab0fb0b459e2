"""A client, a proxy and a web server, each with a network of its own (ip-netns(8))."""

from __future__ import annotations

import os
import subprocess
import uuid
from contextlib import suppress

CLIENT = "198.51.100.1"
SERVER = "192.0.2.5"
_NAMES = ("client", "proxy", "server")


class Networks:
    """Three network namespaces; what the client sends to the server comes to the proxy.

    Raises:
        OSError, subprocess.CalledProcessError: this machine has none.
    """

    def __init__(self) -> None:
        key = uuid.uuid4().hex[:6]
        self._spaces = {name: f"ig{key}{name}" for name in _NAMES}
        try:
            for name in _NAMES:
                _ip("netns", "add", self._spaces[name])
                self._in(name, "link", "set", "lo", "up")
            self._link("client", f"{CLIENT}/24", f"c{key}", "198.51.100.254/24", f"p{key}")
            self._link("server", f"{SERVER}/24", f"s{key}", "192.0.2.254/24", f"q{key}")
            # Packets for any address are the proxy's own (Linux, networking/tproxy.txt).
            self._in("proxy", "route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", "100")
            for device in (f"p{key}", f"q{key}"):
                self._in("proxy", "rule", "add", "iif", device, "lookup", "100")
        except BaseException:
            self.close()
            raise

    def command(self, name: str, *words: object) -> list[str]:
        """A command in one of the networks."""
        return ["ip", "netns", "exec", self._spaces[name], *map(str, words)]

    def close(self) -> None:
        for space in self._spaces.values():
            with suppress(OSError):
                subprocess.run(["ip", "netns", "del", space], check=False, capture_output=True)

    def _link(self, name: str, address: str, device: str, other: str, gate: str) -> None:
        space, proxy = self._spaces[name], self._spaces["proxy"]
        _ip("link", "add", device, "netns", space, "type", "veth", "peer", gate, "netns", proxy)
        self._in(name, "addr", "add", address, "dev", device)
        self._in("proxy", "addr", "add", other, "dev", gate)
        self._in(name, "link", "set", device, "up")
        self._in("proxy", "link", "set", gate, "up")
        self._in(name, "route", "add", "default", "via", other.partition("/")[0])

    def _in(self, name: str, *words: str) -> None:
        _ip("-n", self._spaces[name], *words)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def lacking() -> str:
    """Why there can be no namespaces here, or nothing."""
    if os.getuid():
        return "only root makes network namespaces"
    try:
        Networks().close()
    except (OSError, subprocess.CalledProcessError) as error:
        return f"no network namespaces: {error}"
    return ""
