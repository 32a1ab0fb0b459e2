"""Few threads at a time undo encodings, those of each client in turn."""

from __future__ import annotations

import threading
from contextlib import suppress

import pytest

from inkgate.icap_server.gate import Gate
from support.waiting import wait_until


@pytest.mark.parametrize("at_once", [1, 2])
def test_no_more_than_so_many_at_once_and_clients_in_turn(at_once: int) -> None:
    gate, order, hold = Gate(at_once), list[bytes](), threading.Event()
    inside = threading.Semaphore(at_once)

    def enter(client: bytes) -> None:
        with gate.turn(client):
            assert inside.acquire(blocking=False)
            hold.wait(20)
            order.append(client)
            inside.release()

    def begin(client: bytes) -> threading.Thread:
        thread = threading.Thread(target=enter, args=(client,))
        thread.start()
        return thread

    clients = [b"many"] * 12 + [b"other"] * 2
    threads = []
    for count, client in enumerate(clients, 1):
        threads.append(begin(client))
        left = max(0, count - at_once)
        wait_until(lambda left=left: _waiting(gate) == left, "a thread to wait")
    hold.set()
    for thread in threads:
        thread.join(20)
    assert sorted(order) == sorted(clients)
    if at_once == 1:
        # One was inside; then one of each, as long as there are any. (Two that are inside may
        # come out in either order.)
        assert set(order[1:3]) == set(order[3:5]) == {b"many", b"other"}


def test_whoever_fails_leaves_as_well() -> None:
    gate = Gate(1)
    for _ in range(3):
        with suppress(ValueError), gate.turn(b""):
            int("no number")
    with gate.turn(b""):
        assert _waiting(gate) == 0


def _waiting(gate: Gate) -> int:
    return sum(map(len, gate._waiting._queues.values()))
