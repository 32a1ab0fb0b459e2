"""The proxy as a client has it: its address, and with whose name and password it is asked."""

from __future__ import annotations

import base64
import os
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from inkgate.config.errors import InkgateError
from inkgate.config.secret import read_secret
from inkgate.squid_conf.ports import Port

VARIABLE: Final = "INKGATE_CLIENT_PROXY"
_DEFAULT_PORT: Final = 3128
_FORM: Final = "http://user:password@proxy.example:3128"


class ClientProxyError(InkgateError):
    """The client's proxy cannot be used. Never holds its password."""


class ClientProxy(NamedTuple):
    """A proxy's address and a client's credentials.

    Attributes:
        host, port: where it is.
        authorization: value of the header Proxy-Authorization; empty for none.
    """

    host: str
    port: int
    authorization: str = ""

    def __repr__(self) -> str:
        return f"ClientProxy({self.host!r}, {self.port})"


def given_proxy(given: str) -> ClientProxy:
    """The client's proxy from the command line, which everybody on the machine can read.

    Raises:
        ClientProxyError: it is no address of a proxy, or has a password.
    """
    found = parse_client_proxy(given, "--client-proxy")
    if found.authorization:
        raise ClientProxyError(
            "--client-proxy: everybody on this machine can read a password there; put the "
            f"address into a file and name it in [squid_conf] client_proxy_file, or set "
            f"{VARIABLE}"
        )
    return found


def named_proxy(file: Path | None) -> ClientProxy | None:
    """The client's proxy: the file's, else $INKGATE_CLIENT_PROXY's.

    Args:
        file: a file with a URL, or None.

    Raises:
        ClientProxyError: it is no address of a proxy.
        Unreadable: the file cannot be read.
    """
    if file is None and not os.environ.get(VARIABLE):
        return None
    text = read_secret(file, VARIABLE, "the check through the proxy")
    return parse_client_proxy(text, str(file or VARIABLE))


def parse_client_proxy(text: str, where: str) -> ClientProxy:
    """Read `http://user:password@host:port`.

    Args:
        where: where the text comes from, for messages, which do not repeat it.

    Raises:
        ClientProxyError: it is something else.
    """
    try:
        url = urllib.parse.urlsplit(text if "//" in text else f"//{text}")
        host, port = url.hostname, url.port
    except ValueError:
        host, port = None, None
    if host is None or url.scheme not in ("", "http") or url.path not in ("", "/"):
        raise ClientProxyError(f"{where}: is no proxy's address; write it as {_FORM}")
    return ClientProxy(host, port or _DEFAULT_PORT, _basic(url.username, url.password))


def seen_by_client(ports: Sequence[Port], client: ClientProxy | None) -> list[Port]:
    """The ports to try: those of squid.conf, at the address that a client uses.

    A proxy that is given by hand and is none of them is tried alone.
    """
    if client is None:
        return list(ports)
    if not any(port.number == client.port for port in ports):
        return [Port("", client.host, client.port)]
    return [port._replace(host=client.host) if port.is_any else port for port in ports]


def _basic(user: str | None, password: str | None) -> str:
    if user is None and password is None:
        return ""
    pair = f"{urllib.parse.unquote(user or '')}:{urllib.parse.unquote(password or '')}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"
