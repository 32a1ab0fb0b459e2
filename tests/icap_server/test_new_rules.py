"""How a worker comes to new rules: noticed and warmed up beside its loop, then exchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkgate.icap_server.protocol.common_case import host_of
from inkgate.icap_server.protocol.parser import IcapMessage, MessageParser
from inkgate.icap_server.rules_in_use import (
    COMMON_SAMPLED,
    OTHERS_SAMPLED,
    HotMessages,
    IcapRules,
    new_rules,
)
from inkgate.icap_server.settings import IcapSettings
from inkgate.rules.lookup.verdicts import Findings
from support.counts import is_warming_up
from support.icap import http_request, http_response, reqmod, respmod
from support.icap_worker import IcapWorker
from support.installation import Installation, attribute
from support.status import complaints
from support.waiting import wait_until

AGENT = "Agent/1 (made up)"
REQUESTS = [
    reqmod(http_request(f"http://www.host{n}.example/", User_Agent=AGENT)) for n in range(20)
]
TUNNELS = [
    reqmod(
        http_request(f"tunnel{n}.example:443", "CONNECT"),
        extra=f"X-TLS-Server-Name: inner{n}.example\r\n",
    )
    for n in range(5)
]
REPLIES = [
    respmod(
        http_request(f"http://www.host{n}.example/"),
        http_response(),
        extra=f"X-Server-IP: 192.0.2.{n}\r\n",
    )
    for n in range(5)
]
# After so many rounds each of them was in the sample.
ROUNDS = max(COMMON_SAMPLED, OTHERS_SAMPLED) + 1
CLEAN = Findings((), clean_host=True, clean_server=True, clean_agent=True)


Start = Callable[[Installation], IcapWorker]


@pytest.fixture
def listed(installation: Installation) -> Iterator[Installation]:
    # Gates so wide that no host passes one by chance when an indicator is added; and all
    # the time that a busy machine may need.
    text = installation.config.read_text()
    text = text.replace("[helper]", "epsilon = 0.0001\n[icap]\nwarm_up_seconds = 60\n[helper]")
    installation.config.write_text(text)
    installation.add(
        "listed",
        attribute("domain", "listed.example"),
        attribute("url", "http://a.example/b"),
        attribute("ip-dst", "198.51.100.66"),
        attribute("user-agent", "EvilBot/1.0 (made up)"),
    )
    installation.refresh()
    return installation


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[IcapWorker] = []

    def start_one(installation: Installation) -> IcapWorker:
        started.append(IcapWorker(installation))
        return started[-1]

    yield start_one
    for worker in started:
        worker.close()


def make_slow(installation: Installation) -> None:
    """Let names of the next epoch cost a fifth of a second or more each."""
    slow = '{ algorithm = "pbkdf2", hash = "sha256", iterations = 1000000 }'
    text = installation.config.read_text()
    installation.config.write_text(text.replace('name = "test"', f"name = {slow}"))


def publish(installation: Installation, name: str, **options: bool) -> None:
    installation.add(name, attribute("domain", f"{name}.example"))
    installation.refresh(**options)


def make_hot(worker: IcapWorker, messages: list[bytes]) -> str:
    """Ask often enough for all to be seen; the ISTag of the last answer."""
    for _ in range(ROUNDS):
        for message in messages:
            answer = worker.ask(message)
            assert answer.status == 204
    return answer.fields["istag"]


def until_new(worker: IcapWorker, old: str) -> None:
    """Ask for a hot host until the rules are other ones."""
    wait_until(lambda: worker.ask(REQUESTS[0]).fields["istag"] != old, "an answer by new rules")


@pytest.mark.slow
def test_new_epoch_is_used_when_the_hottest_names_are_derived(
    listed: Installation, start: Start
) -> None:
    worker = start(listed)
    assert worker.ready == "ready"
    old = make_hot(worker, REQUESTS)
    before = worker.counts.derivations
    publish(listed, "added", new_epoch=True)
    until_new(worker, old)
    made = worker.counts.derivations
    assert made >= before + len(REQUESTS)
    for message in REQUESTS * 2:
        assert worker.ask(message).status == 204
    assert worker.counts.derivations == made
    assert worker.ask(reqmod(http_request("http://added.example/"))).http_status == 403
    # The loop has opened what was there at the start and nothing since.
    assert worker.counts.on_main_thread == "O"
    assert not complaints(worker.close())


@pytest.mark.parametrize("messages", [TUNNELS, REPLIES], ids=["tunnels", "replies"])
@pytest.mark.slow
def test_what_threads_answer_is_warmed_up_too(
    listed: Installation, start: Start, messages: list[bytes]
) -> None:
    worker = start(listed)
    old = make_hot(worker, messages)
    publish(listed, "added", new_epoch=True)
    until_new(worker, old)
    made = worker.counts.derivations
    for message in messages:
        assert worker.ask(message).status == 204
    assert worker.counts.derivations == made


@pytest.mark.slow
def test_old_rules_answer_while_new_ones_are_warmed_up(listed: Installation, start: Start) -> None:
    worker = start(listed)
    old = make_hot(worker, REQUESTS)
    with worker.counts.held():
        publish(listed, "added", new_epoch=True)
        wait_until(lambda: is_warming_up(listed), "the warm-up")
        for message in REQUESTS * 10:
            answer = worker.ask(message)
            assert (answer.status, answer.fields["istag"]) == (204, old)
    until_new(worker, old)


@pytest.mark.slow
def test_one_of_two_workers_derives_for_a_new_epoch(listed: Installation, start: Start) -> None:
    workers = [start(listed), start(listed)]
    old = [make_hot(worker, REQUESTS) for worker in workers]
    before = sum(worker.counts.derivations for worker in workers)
    with workers[0].counts.held(), workers[1].counts.held():
        publish(listed, "added", new_epoch=True)
        for worker in workers:
            wait_until(lambda worker=worker: worker.counts.openings == 2, "the new rule set")
        wait_until(lambda: is_warming_up(listed), "the warm-up")
    for worker, tag in zip(workers, old, strict=True):
        until_new(worker, tag)
        for message in REQUESTS:
            worker.ask(message)
    # Without the lock, both derive the first one. The one more is the User-Agent.
    assert sum(worker.counts.derivations for worker in workers) - before == len(REQUESTS) + 1


@pytest.mark.slow
def test_new_epoch_waits_no_longer_than_it_may(listed: Installation, start: Start) -> None:
    text = listed.config.read_text()
    listed.config.write_text(text.replace("warm_up_seconds = 60", "warm_up_seconds = 0.5"))
    worker = start(listed)
    old = make_hot(worker, REQUESTS)
    before = worker.counts.derivations
    make_slow(listed)
    publish(listed, "added", new_epoch=True)
    until_new(worker, old)
    # Not all of the hosts'. The one more is of the request that was waited for.
    assert before < worker.counts.derivations < before + 10


@pytest.mark.parametrize("new_epoch", [False, True])
@pytest.mark.slow
def test_hot_and_clean_host_that_becomes_listed_is_blocked(
    listed: Installation, start: Start, new_epoch: bool
) -> None:
    worker = start(listed)
    old = make_hot(worker, REQUESTS)
    listed.add("host3", attribute("domain", "host3.example"))
    listed.add("url", attribute("url", "http://www.host4.example/bad"))
    listed.refresh(new_epoch=new_epoch)
    until_new(worker, old)
    assert worker.ask(REQUESTS[3]).http_status == 403
    assert worker.ask(REQUESTS[4]).status == 204
    bad = reqmod(http_request("http://www.host4.example/bad"))
    assert worker.ask(bad).http_status == 403
    assert worker.ask(REQUESTS[5]).status == 204


@pytest.mark.slow
def test_old_generations_are_let_go_of(listed: Installation, start: Start) -> None:
    worker = start(listed)
    tag = make_hot(worker, REQUESTS)
    for number in range(4):
        publish(listed, f"added{number}", new_epoch=number % 2 == 1)
        until_new(worker, tag)
        for message in (*REQUESTS, *TUNNELS):
            tag = worker.ask(message).fields["istag"]
    mapped = worker.maps
    assert len([path for path in mapped if path.endswith("rules.mdb")]) == 1
    assert len([path for path in mapped if "/keys/" in path and path.endswith(".mdb")]) == 1


def test_first_rules_are_used_when_they_come(installation: Installation, start: Start) -> None:
    worker = start(installation)
    assert worker.ready == "ready without rules"
    message = reqmod(http_request("http://added.example/"))
    assert worker.ask(message).status == 204
    publish(installation, "added")
    wait_until(lambda: worker.ask(message).status == 200, "the blocked page")
    # What was tried at the start, in vain.
    assert worker.counts.on_main_thread == "O"
    assert "no rule set is installed" in worker.close()


@pytest.mark.slow
def test_worker_that_warms_up_ends_without_finishing(listed: Installation, start: Start) -> None:
    worker = start(listed)
    make_hot(worker, REQUESTS)
    before = worker.counts.derivations
    make_slow(listed)
    publish(listed, "added", new_epoch=True)
    wait_until(lambda: worker.counts.derivations > before, "a derivation")
    assert worker.end() == 0
    assert worker.counts.derivations - before < 10
    assert not complaints(worker.close())


def message_of(data: bytes) -> IcapMessage:
    parser = MessageParser()
    parser.feed(data)
    message = parser.next()
    assert isinstance(message, IcapMessage)
    return message


def remembered(messages: list[IcapMessage]) -> IcapRules:
    """What new rules know of these messages, if all that was asked for is clean."""
    hot = HotMessages(IcapSettings())
    for message in messages:
        for _ in range(ROUNDS):
            hot.count(message)
    rules = new_rules(None, b"", 1000)
    for _, remember in hot.requests(rules):
        remember(CLEAN)
    return rules


def test_hosts_are_remembered_as_the_loop_spells_them() -> None:
    rules = remembered([message_of(message) for message in (*REQUESTS, *TUNNELS, *REPLIES)])
    assert rules.is_clean(b"GET http://www.host7.example", AGENT.encode())
    assert len(rules.clean.hosts) == len(REQUESTS)
    assert len(rules.clean.agents) == 1


LINES = [
    b"GET http:///listed.example/ HTTP/1.1",
    b"GET http://fine.example HTTP/1.0 HTTP/1.1",
    b"GET http://fine.example /x HTTP/1.1",
    b"GET a.example:443 HTTP/1.1",
    b"CONNECT http://fine.example/ HTTP/1.1",
    b"GET http://" + b"a" * 400 + b"/ HTTP/1.1",
    b"no request line",
]


@pytest.mark.parametrize("line", LINES)
def test_attack_only_a_host_that_is_plain_to_see_is_remembered(line: bytes) -> None:
    assert len(remembered([message_of(reqmod(line + b"\r\n\r\n"))]).clean.hosts) == 0


@given(st.binary(max_size=60), st.sampled_from(LINES), st.integers(0, 60))
def test_attack_lines_never_make_another_host_clean(more: bytes, line: bytes, at: int) -> None:
    more = more.replace(b"\n", b"").replace(b"\r", b"")
    block = line[:at] + more + line[at:] + b"\r\n\r\n"
    rules = remembered([message_of(reqmod(block))])
    assert set(rules.clean.hosts.young) <= {host_of(block, 0, len(block))}


def test_attack_long_user_agents_are_not_remembered() -> None:
    rules = new_rules(None, b"", 16_000)
    for number in range(1000):
        rules.remember(b"GET http://" + b"h" * 400, b"%d" % number * 1000, CLEAN)
    assert len(rules.clean.agents) == len(rules.clean.hosts) == 0
