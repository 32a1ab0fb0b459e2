"""The fair queue: whoever asks for much waits for itself."""

from __future__ import annotations

from collections import Counter, defaultdict, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkgate.rules.lookup.turns import UNKNOWN, Turns, client_of
from inkgate.rules.lookup.waiting_room import WaitingRoom

CLIENTS = st.sampled_from([b"a", b"b", b"c", b"d"])


@given(st.lists(CLIENTS | st.none(), max_size=200))
def test_each_client_waits_for_one_item_of_each_other(course: list[bytes | None]) -> None:
    """A put is a client, a take is None. Order within a client, and turns between them."""
    turns: Turns[int] = Turns()
    waiting: dict[bytes, deque[int]] = defaultdict(deque)
    taken_since: dict[bytes, Counter[bytes]] = {}
    for number, client in enumerate(course):
        if client is not None:
            turns.put(client, number)
            waiting[client].append(number)
            taken_since.setdefault(client, Counter())
            continue
        taken = turns.take()
        if taken is None:
            assert not any(waiting.values())
            continue
        who, item = taken
        assert item == waiting[who].popleft()
        for other, counts in taken_since.items():
            if other != who and waiting[other]:
                counts[who] += 1
                # Never twice while the other has waited for its turn.
                assert counts[who] <= 1
        taken_since[who] = Counter()
        if not waiting[who]:
            del taken_since[who]
    assert bool(turns) == any(waiting.values())


@given(st.lists(CLIENTS, min_size=1), CLIENTS)
def test_client_that_may_not_keeps_its_turn(items: list[bytes], barred: bytes) -> None:
    turns: Turns[int] = Turns()
    for number, client in enumerate(items):
        turns.put(client, number)
    taken = []
    while found := turns.take(lambda client: client != barred):
        taken.append(found[0])
    assert sorted(taken) == sorted(client for client in items if client != barred)
    rest = []
    while found := turns.take():
        rest.append(found[0])
    assert rest == [client for client in items if client == barred]


@given(
    st.lists(st.tuples(CLIENTS, st.integers(1, 400_000), st.booleans()), max_size=120),
    st.sampled_from([0.1, 0.25, 0.5, 1.0]),
)
def test_room_is_bounded_and_no_light_client_gives_way(
    course: list[tuple[bytes, int, bool]], share: float
) -> None:
    room: WaitingRoom[int] = WaitingRoom(10, 1 << 20, share)
    waits: dict[int, tuple[bytes, int]] = {}

    def load(client: bytes) -> tuple[int, int]:
        sizes = [size for who, size in waits.values() if who == client]
        return len(sizes), sum(sizes)

    def is_heavy(client: bytes) -> bool:
        count, size = load(client)
        return count > share * 10 or size > share * (1 << 20)

    for number, (client, size, leaves) in enumerate(course):
        while not room.has_room(size):
            other = room.gives_way(client)
            if other is None:
                assert is_heavy(client) or not any(map(is_heavy, (b"a", b"b", b"c", b"d")))
                break
            assert waits[other][0] != client
            assert is_heavy(waits[other][0])
            # The newest of its client goes first.
            assert other == max(n for n, (who, _) in waits.items() if who == waits[other][0])
            room.remove(waits[other][0], other)
            del waits[other]
        else:
            room.add(client, number, size)
            waits[number] = (client, size)
        if leaves and waits:
            first = next(iter(waits))
            room.remove(waits[first][0], first)
            room.remove(waits[first][0], first)
            del waits[first]
        assert room.count == len(waits) <= 10
        assert room.bytes == sum(size for _, size in waits.values()) <= 1 << 20


@pytest.mark.parametrize(
    ("field", "client"),
    [
        (b"192.0.2.1", b"192.0.2.1"),
        (b"-", UNKNOWN),
        (b"", UNKNOWN),
        (b"x" * 60, UNKNOWN),
        (b"2001:db8:1:2::7", bytes.fromhex("20010db800010002")),
        (b"2001:db8:1:2:ffff::", bytes.fromhex("20010db800010002")),
        (b"2001:db8:1:3::7", bytes.fromhex("20010db800010003")),
        (b"::ffff:192.0.2.1", b"192.0.2.1"),
        (b":" * 5000, UNKNOWN),
        (b"\xff:\xff", UNKNOWN),
    ],
)
def test_who_a_client_is(field: bytes, client: bytes) -> None:
    assert client_of(field) == client
