"""One client floods a helper: what others get, and how much memory it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inkgate.config.settings_file import load_section
from inkgate.helper.memory_bound import memory_bound
from inkgate.helper.settings import HelperSettings
from support.helper_process import HelperProcess
from support.installation import SETTINGS, Installation, attribute
from support.status import status

FLOODER, VICTIM = "127.0.0.9", "127.0.0.2"
Start = Callable[[str], tuple[Installation, HelperProcess]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a helper with lines for section `[helper]`; the set lists a few of everything."""
    made: list[tuple[Installation, HelperProcess]] = []

    def started(lines: str) -> tuple[Installation, HelperProcess]:
        installation = Installation(SETTINGS.replace('fail = "open"', f'fail = "closed"\n{lines}'))
        installation.add(
            "listed",
            attribute("domain", "listed.example"),
            attribute("ip-dst", "198.51.100.0/24"),
            attribute("user-agent", "EvilBot/1.0"),
        )
        installation.refresh()
        made.append((installation, HelperProcess(installation)))
        return made[-1]

    yield started
    for installation, helper in made:
        if helper.process.poll() is None:
            helper.kill()
        installation.close()


def line(number: int, url: str, client: str, agent: str = "curl/8") -> bytes:
    return f"{number} GET {url} {client} - {agent} -\n".encode()


def answers(helper: HelperProcess, count: int) -> dict[int, bytes]:
    read = (helper.read().split(b" ") for _ in range(count))
    return {int(number): verdict for number, verdict, *_ in read}


def own_memory(helper: HelperProcess) -> int:
    """Bytes that the process has for itself."""
    return next(
        int(row.split()[1]) << 10
        for row in Path(f"/proc/{helper.process.pid}/status").read_text().splitlines()
        if row.startswith("RssAnon")
    )


def test_host_that_is_known_to_be_listed_is_answered_at_once_and_journalled(start: Start) -> None:
    installation, helper = start("workers = 1\npending = 20")
    assert helper.ask("http://listed.example/") == [b"OK"]
    with helper.held():
        flood = [line(n, f"http://new{n}.test/", FLOODER) for n in range(20)]
        # A User-Agent that is new, too: no derivation is waited for.
        own = line(99, "http://listed.example/other", VICTIM, "NewAgent/1")
        helper.send(*flood, own)
        incident = helper.read()
        assert incident.startswith(b"99 OK ")
    assert answers(helper, 20) == dict.fromkeys(range(20), b"ERR")
    (entry,) = installation.sightings(incident.split(b"log=")[1].decode())
    assert entry["class"] == "domain"
    assert status(installation).count("queue-full") == 0


def test_what_was_found_by_the_deadline_counts(start: Start) -> None:
    """The network is found, and what its address costs comes too late."""
    installation, helper = start("workers = 1\ndeadline_seconds = 0.3")
    assert helper.ask("http://198.51.100.1/") == [b"OK"]
    with helper.held():
        # Its network is in memory now, its address is not.
        helper.send(line(1, "http://198.51.100.2/", VICTIM, "AnotherAgent/1"))
        found = helper.read()
    assert found.startswith(b"1 OK ")
    assert installation.sightings(found.split(b"log=")[1].decode())
    assert status(installation).count("deadline-passed") == 0


def test_settled_requests_take_no_memory_behind_one_that_waits(start: Start) -> None:
    """Lines of 60 KB behind a request that waits: 240 MB of them, if they were kept."""
    installation, helper = start("workers = 1\npending = 100\ndeadline_seconds = 100")
    settings = load_section(installation.config, "helper", HelperSettings)
    assert helper.ask("http://a.test/") == [b"ERR"]
    with helper.held():
        helper.send(line(1, "http://waits.test/", VICTIM))
        for number in range(10, 4_010, 10):
            numbers = range(number, number + 10)
            helper.send(
                *(line(n, "http://a.test/", FLOODER, f"{n}" + "x" * 60_000) for n in numbers)
            )
            assert answers(helper, 10) == dict.fromkeys(numbers, b"ERR")
        kept = own_memory(helper)
    assert helper.read() == b"1 ERR"
    assert kept < 60 << 20 < memory_bound(settings)


def test_others_are_derived_for_in_their_turn(start: Start) -> None:
    _, helper = start("workers = 1\nclient_share = 0.25")
    with helper.held():
        helper.send(*(line(n, f"http://new{n}.test/", FLOODER) for n in range(500)))
        helper.send(line(999, "http://a.listed.example/", VICTIM))
    order = [int(helper.read().split(b" ")[0]) for _ in range(501)]
    # Behind those that were handed over before it came, and those of one turn.
    assert order.index(999) < 50


def test_client_with_more_than_its_share_gives_way(start: Start) -> None:
    installation, helper = start("workers = 1\npending = 10\nclient_share = 0.5")
    with helper.held():
        helper.send(*(line(n, f"http://new{n}.test/", FLOODER) for n in range(12)))
        # It alone may have all of `pending`, and no more.
        assert answers(helper, 2) == {10: b"BH", 11: b"BH"}
        helper.send(*(line(100 + n, f"http://own{n}.test/", VICTIM) for n in range(6)))
        # The newest give way, down to the share.
        assert answers(helper, 6) == dict.fromkeys([9, 8, 7, 6, 5, 105], b"BH")
    assert set(answers(helper, 10).values()) == {b"ERR"}
    found = status(installation)
    assert (found.count("client-share-used-up"), found.count("queue-full")) == (5, 3)
    assert ": warning: client-share-used-up: " in helper.close()


def test_bytes_that_wait_are_bounded(start: Start) -> None:
    installation, helper = start("workers = 1\npending_mib = 1")
    with helper.held():
        # They would be 3 MiB.
        helper.send(*(line(n, f"http://new{n}.test/{'x' * 60_000}", FLOODER) for n in range(50)))
        refused = answers(helper, 50 - (1 << 20) // 60_050)
        assert set(refused.values()) == {b"BH"}
        helper.send(line(99, "http://own.test/", VICTIM))
    rest = answers(helper, 50 - len(refused) + 1)
    assert rest.pop(99) == b"ERR"
    assert status(installation).count("queue-full") == len(refused)


def test_memory_stays_within_its_bound(start: Start) -> None:
    """User-Agents of 8 KB, which can be listed, and of 60 KB, which cannot."""
    installation, helper = start(
        "cached_hosts = 1000\ncached_keys = 2000\nwarm_up_hosts = 10\npending = 200\n"
        "pending_mib = 2\nworkers = 1"
    )
    settings = load_section(installation.config, "helper", HelperSettings)
    for start_at in range(0, 4_000, 20):
        size = 60_000 if start_at % 200 == 0 else 8_000
        numbers = range(start_at, start_at + 20)
        agents = [f"{n}" + "x" * size for n in numbers]
        helper.send(
            *(line(n, "http://a.test/", FLOODER, a) for n, a in zip(numbers, agents, strict=True))
        )
        assert answers(helper, 20) == dict.fromkeys(numbers, b"ERR")
        if not start_at:
            before = own_memory(helper)
    assert own_memory(helper) < memory_bound(settings)
    # 2,000 such values alone would be 16 MiB.
    assert own_memory(helper) - before < 8 << 20


def test_longer_than_any_value_is_not_derived_and_not_listed(start: Start) -> None:
    _, helper = start("workers = 1")
    assert helper.ask("http://a.test/") == [b"ERR"]
    before = helper.derivations
    helper.send(line(1, "http://a.test/", VICTIM, "x" * 8_193))
    assert helper.read() == b"1 ERR"
    assert helper.derivations == before
    helper.send(line(2, "http://a.test/", VICTIM, "x" * 8_192))
    assert helper.read() == b"2 ERR"
    assert helper.derivations == before + 1
