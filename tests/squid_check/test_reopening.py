"""A port that is closed for a moment, as by a Squid that reads its configuration again."""

from __future__ import annotations

import socket
import threading
import time

from inkgate.squid_conf.ports import Port
from inkgate.squid_conf.through_proxy.client import Ask, ask
from support.squid import free_port


def test_port_that_opens_a_moment_later_is_asked_again() -> None:
    number = free_port()

    def open_later() -> None:
        time.sleep(0.5)
        with socket.create_server(("127.0.0.1", number)) as listening:
            client, _ = listening.accept()
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")

    later = threading.Thread(target=open_later)
    later.start()
    reply = ask(Port("", "127.0.0.1", number), Ask("GET", "http://name.example/"))
    later.join()
    assert reply.status == 204


def test_port_that_stays_closed_is_given_up() -> None:
    assert (
        ask(
            Port("", "127.0.0.1", free_port()), Ask("GET", "http://name.example/"), seconds=1
        ).status
        == -1
    )
