"""What `requests` sends with, so that every connection has a deadline."""

from __future__ import annotations

import logging
import socket
import ssl
from typing import Any, Final

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from inkgate.remote.bodies import CODINGS
from inkgate.remote.deadline import Deadline
from inkgate.remote.redirects import Home

# It quotes headers that it cannot read, and would print them where no log is set up.
logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)

DIRECT: Final = "none"
"""As a proxy's address: none, whatever the environment says."""


def proxies_of(proxy: str) -> dict[str, str]:
    """A proxy's address as `requests` takes it; nothing is that of the environment."""
    if proxy == DIRECT:
        return {"no_proxy": "*"}
    return {"http": proxy, "https": proxy} if proxy else {}


class GuardedAdapter(HTTPAdapter):
    """Connections that end at a deadline.

    Args:
        deadline: until when all of them may last.
        connections: how many are kept open for the next request.
    """

    def __init__(self, deadline: Deadline, connections: int = 1) -> None:
        self._deadline = deadline
        self._classes = _pool_classes(deadline, Home())
        super().__init__(pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Called by `requests`: connections without a proxy."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._classes

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        """Called by `requests`: connections through a proxy."""
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = self._classes
        return manager

    def send(
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> Response:
        """Called by `requests`.

        Raises:
            OutOfTimeError: no time is left for another request.
            RequestException: as always.
        """
        left = self._deadline.left()
        connect, read = timeout if isinstance(timeout, tuple) else (timeout, timeout)
        request.headers["Accept-Encoding"] = CODINGS
        try:
            return super().send(
                request,
                stream=stream,
                timeout=(min(connect or left, left), min(read or left, left)),
                verify=verify,
                cert=cert,
                proxies=proxies,
            )
        except Exception:
            # A socket that was shut down looks like a server that went away.
            self._deadline.check()
            raise


def _pool_classes(deadline: Deadline, home: Home) -> dict[str, type[HTTPConnectionPool]]:
    """urllib3's pools by scheme, whose connections are watched."""

    # The classes of open sockets are changed, so these must add nothing to an object.
    class PlainSocket(socket.socket):
        """Reads only while there is time: what is sent after a shutdown still arrives."""

        __slots__ = ()

        def recv_into(self, *args: Any) -> int:
            deadline.check()
            return super().recv_into(*args)

    class TlsSocket(ssl.SSLSocket):
        def recv_into(self, *args: Any) -> int:
            deadline.check()
            return super().recv_into(*args)

    def opened(connection: HTTPConnection, new: socket.socket) -> socket.socket:
        # A proxy's address is the operator's own choice.
        if connection.proxy is None:
            try:
                home.check(new)
            except BaseException:
                new.close()
                raise
        new.__class__ = PlainSocket
        deadline.watch(new)
        return new

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            deadline.check()
            return opened(self, super()._new_conn())

    class Encrypted(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            deadline.check()
            return opened(self, super()._new_conn())

        def connect(self) -> None:
            super().connect()
            # TLS has taken the first socket's place.
            if isinstance(self.sock, ssl.SSLSocket):
                self.sock.__class__ = TlsSocket
                deadline.watch(self.sock)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}
