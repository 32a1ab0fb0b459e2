"""The helper blocks the canaries, journals them apart, and nobody is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.canary_proxy import canaries_of, records
from support.helper_process import HelperProcess, request
from support.installation import Installation, attribute
from support.misp import MispServer

AGENT = "CheckBot/1.0"


@pytest.fixture
def listed() -> Iterator[tuple[Installation, MispServer]]:
    """An installation that lists what a MISP knows, and reports to it."""
    installation = Installation()
    with MispServer() as server:
        event = server.misp.add_event(
            "made up", [("domain", "listed.example"), ("user-agent", AGENT)]
        )
        known = [a for a in server.misp.attributes.values() if a.event is event]
        installation.add("listed", *({**attribute(a.type, a.value), "uuid": a.uuid} for a in known))
        with installation.config.open("a") as file:
            file.write(f'[sightings.misp]\nurl = "{server.url}"\nkey_file = "misp.key"\n')
        (installation.folder / "misp.key").write_text(server.key)
        installation.refresh()
        yield installation, server
    installation.close()


def test_canaries_are_blocked_and_told_to_nobody(listed: tuple[Installation, MispServer]) -> None:
    installation, server = listed
    own = canaries_of(installation)
    port = own.reply_port
    lines = [
        request(0, f"http://{own.name}/"),
        b"1 CONNECT %b:443 192.0.2.1 - - -\n" % own.name.encode(),
        b"2 POST %b 192.0.2.1 - - -\n" % own.url.encode(),
        request(3, f"http://localhost:{port}/", server="127.0.0.1"),
        request(4, f"http://localhost:{port}/", server="::1"),
        # A client that saw the canary in a log, with a listed User-Agent.
        request(5, own.url, agent=AGENT),
        request(6, f"http://{own.neighbour}/"),
        request(7, own.neighbour_url),
        request(8, "http://a.listed.example/"),
    ]
    helper = HelperProcess(installation)
    try:
        helper.send(*lines)
        answers = dict(helper.read().split(b" ", 1) for _ in lines)
    finally:
        said = helper.close()
    assert "Error" not in said
    blocked = {int(i) for i, answer in answers.items() if answer.startswith(b"OK ")}
    assert blocked == {0, 1, 2, 3, 4, 5, 8}
    assert answers[b"6"] == answers[b"7"] == b"ERR"

    shown = records(installation)
    assert sorted((r["class"], r["action"]) for r in shown) == [
        ("domain", "block"), ("user-agent", "block")
    ]  # fmt: skip
    everything = records(installation, "--canaries")
    apart = [r for r in everything if r["action"] == "canary"]
    assert [r for r in everything if r not in apart] == shown
    assert sorted(r["class"] for r in apart) == [
        "domain", "domain", "ip-dst|port", "ip-dst|port", "url", "url"
    ]  # fmt: skip
    assert all(r["attributes"] == [] for r in apart)
    assert {r["incident"] for r in apart} == {
        answers[str(i).encode()].split(b"log=")[1].decode() for i in range(6)
    }

    done = installation.run("inkgate-sightings", "report")
    assert (done.returncode, done.stdout) == (0, "reported 2, refused 0, waiting 0\n"), done.stderr
    assert {told.attribute.value for told in server.misp.sightings.values()} == {
        "listed.example", AGENT
    }  # fmt: skip


def test_incident_of_the_check_says_so_and_is_no_false_positive(
    listed: tuple[Installation, MispServer],
) -> None:
    installation, server = listed
    helper = HelperProcess(installation)
    try:
        helper.send(request(0, canaries_of(installation).url))
        incident = helper.read().split(b"log=")[1].decode()
    finally:
        helper.close()
    shown = installation.run("inkgate-sightings", "show", incident)
    assert "a request of the check through the proxy" in shown.stdout
    assert [r["action"] for r in records(installation, "--incident", incident)] == ["canary"]
    done = installation.run("inkgate-sightings", "false-positive", incident)
    assert done.returncode == 2
    assert "MISP knows nothing of it" in done.stderr
    assert not server.misp.sightings
