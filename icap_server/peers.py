"""Which user of this machine is at the other end of a connection, and whether it may ask.

An address tells nothing about who asks from this machine: any user of it could try guesses
against the rules without a token, and record incidents under any client's address. The kernel
knows whose the socket at the other end is (sock_diag(7)), and is asked once a connection.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import pwd
import socket
import struct
from collections.abc import Iterable
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
End = tuple[Address, int]
"""An end of a connection: address and port."""

_NETLINK_SOCK_DIAG: Final = 4
_SOCK_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1
_ALL_STATES: Final = 0xFFFFFFFF
_ESTABLISHED: Final = 1
_NO_COOKIE: Final = 0xFFFFFFFF
_SECONDS: Final = 1.0
# struct nlmsghdr, struct inet_diag_req_v2, and of struct inet_diag_msg what is looked at.
_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBBBI")
_PORTS: Final = struct.Struct("!HH")
_INTERFACE: Final = struct.Struct("=III")
_ANSWER: Final = struct.Struct("=BBBB48x4x4x4xII")


class Unknown(Exception):  # noqa: N818 (no error: it is what the kernel says of other machines)
    """The kernel knows no socket of this machine at that end."""


class Closed(Exception):  # noqa: N818 (no error: programs close their sockets)
    """The socket at that end was closed by its program."""


class Peers:
    """Asks the kernel. For one thread."""

    def __init__(self, users: Iterable[str]) -> None:
        """Look the users up.

        Args:
            users: names or numbers; names that this machine does not have count for nobody.
        """
        # Whoever runs this server can read the token, and needs no server.
        self._uids = {os.getuid(), *_uids(users)}
        self._kernel: socket.socket | None = None
        self._sequence = 0

    def refusal(self, connected: socket.socket) -> str:
        """Why a connection is to be closed; empty if its peer may ask, or is elsewhere.

        Elsewhere means another machine, of which addresses decide.

        Raises:
            ConnectionResetError: its peer has closed it already, as a proxy does that breaks a
                message off: nobody is there to be refused.
        """
        try:
            peer, own = _end(connected.getpeername()), _end(connected.getsockname())
        except OSError as error:
            raise ConnectionResetError(error.errno, error.strerror) from None
        try:
            uid = self._uid(peer, own)
        except Closed:
            raise ConnectionResetError("its program has closed it") from None
        except Unknown:
            if not peer[0].is_loopback:
                return ""
            if _is_ending(connected):
                raise ConnectionResetError("nobody is at its other end") from None
            return f"nobody knows which user connected from {peer[0]}"
        except OSError as error:
            why = error.strerror or type(error).__name__
            return f"the kernel does not say who connected from {peer[0]} ({why})"
        return "" if uid in self._uids else f"user {uid} of this machine"

    def close(self) -> None:
        """Ask no more."""
        if self._kernel is not None:
            self._kernel.close()
            self._kernel = None

    def _uid(self, peer: End, own: End) -> int:
        """Whose the peer's socket is.

        Raises:
            Unknown: it is not of this machine, or it is gone for long.
            Closed: its program has closed it.
            OSError: the kernel cannot be asked.
        """
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        if self._kernel is None:
            self._kernel = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_SOCK_DIAG)
            self._kernel.settimeout(_SECONDS)
        try:
            self._kernel.sendto(_question(peer, own, self._sequence), (0, 0))
            data = self._kernel.recv(8192)
        except OSError:
            # A late answer must not be taken for the next one's.
            self.close()
            raise
        _, kind, _, sequence, _ = _HEADER.unpack_from(data)
        if kind != _SOCK_DIAG_BY_FAMILY or sequence != self._sequence:
            raise Unknown
        *_, uid, inode = _ANSWER.unpack_from(data, _HEADER.size)
        # A socket that its program has closed is said to be root's, and has no inode. One that
        # is closed in one direction only still belongs to its program.
        if not inode:
            raise Closed
        return int(uid)


def _is_ending(connected: socket.socket) -> bool:
    """Whether the other end has sent all that it will, or broken off."""
    state: bytes = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    return state[0] != _ESTABLISHED


def _question(peer: End, own: End, sequence: int) -> bytes:
    family = socket.AF_INET if peer[0].version == 4 else socket.AF_INET6
    body = b"".join(
        (
            _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, _ALL_STATES),
            _PORTS.pack(peer[1], own[1]),
            peer[0].packed.ljust(16, b"\0"),
            own[0].packed.ljust(16, b"\0"),
            _INTERFACE.pack(0, _NO_COOKIE, _NO_COOKIE),
        )
    )
    size = _HEADER.size + len(body)
    return _HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, sequence, 0) + body


def _end(name: tuple[str, int]) -> End:
    address = ipaddress.ip_address(name[0].partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address, name[1]


def _uids(users: Iterable[str]) -> Iterable[int]:
    for user in users:
        if user.isdecimal():
            yield int(user)
        else:
            with contextlib.suppress(KeyError):
                yield pwd.getpwnam(user).pw_uid
