"""A MISP over HTTP: what is sealed is what the MISP holds, whatever goes wrong on the way."""

from __future__ import annotations

import itertools
import logging
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from support.certificates import self_signed
from support.installation import BIN, Installation
from support.misp import Changes, Faults, Misp, MispServer, Role

from rules.canonical import canonical_attribute
from rules.install import open_current
from rules.keys import read_token
from rules.matcher import Matcher
from rules.refresh import RefreshError, Summary

SOURCE = """
[[rules.sources]]
type = "misp-web"
url = "{url}"
key_file = "misp.key"
timeout = {timeout}
first_wait = 0.01
page_size = 7
{more}
"""


@pytest.fixture
def server() -> Iterator[MispServer]:
    with MispServer() as made:
        yield made


@pytest.fixture
def linked(installation: Installation, server: MispServer) -> Installation:
    link(installation, server)
    return installation


def link(
    installation: Installation, server: MispServer, more: str = "", timeout: float = 10
) -> None:
    """Let an installation read from this MISP only."""
    text = installation.config.read_text().replace('sources = ["events"]\n', "")
    text = text.split("\n[[rules.sources]]")[0]
    source = SOURCE.format(url=server.url, more=more, timeout=timeout)
    installation.config.write_text(text + source)
    (installation.config.parent / "misp.key").write_text(server.key + "\n")


def sealed(installation: Installation, values: Iterable[tuple[str, str]]) -> set[str]:
    """UUIDs in the rules that open with the values; all rules must be among them."""
    where = installation.places
    generation = open_current(where.installed, installation.settings.caps)
    try:
        matcher = Matcher(generation, read_token(where.token_file))
        found: set[str] = set()
        opened = 0
        for name, text in set(values):
            value = canonical_attribute(name, text)
            if hit := matcher.look_up(name, value.kind, value.data):
                opened += 1
                found.update(attribute["uuid"] for attribute in hit.message.attributes)
        assert opened == generation.manifest.rule_count()
        return found
    finally:
        generation.close()


def values_of(misp: Misp) -> set[tuple[str, str]]:
    return {(a.type, a.value) for a in misp.attributes.values()}


def refreshed(installation: Installation, **options: bool) -> Summary:
    """A refresh without faults."""
    summary = installation.refresh(allow_empty=True, **options)
    assert not summary.unreadable, summary.unreadable
    return summary


@pytest.mark.parametrize("seed", range(20))
def test_sealed_set_is_the_truth_after_random_changes(
    installation: Installation, seed: int
) -> None:
    with MispServer(skipped_header=seed % 3 != 0) as server:
        misp = server.misp
        misp.skew = (0, -7200, 7200, 90_000)[seed % 4]
        link(installation, server, timeout=0.6)
        changes = Changes(misp, seed)
        for _ in range(12):
            changes.add_event()
        misp.warn(*(a.value for a in itertools.islice(misp.attributes.values(), 0, None, 5)))
        misp.skew += 5
        refreshed(installation)
        assert sealed(installation, changes.values) == misp.truth()

        for _ in range(8):
            changes.one()
        misp.skew += 5
        changes.touched.clear()
        quiet = misp.truth()
        countdown = itertools.count()
        server.before = lambda path, body: changes.one() if next(countdown) % 3 == 0 else None
        server.faults = Faults(seed, 0.2, limit=5, hang_seconds=0.7, retry_after=0)
        refreshed(installation, full=seed % 2 == 0)
        server.before = None
        untouched = {
            a.uuid for a in misp.attributes.values() if a.event.id not in changes.touched
        } & quiet
        assert untouched <= sealed(installation, changes.values)

        misp.skew += 5
        server.faults = Faults(seed + 100, 0.3, limit=5, hang_seconds=0.7, retry_after=0)
        refreshed(installation, full=seed % 5 == 4)
        assert sealed(installation, changes.values) == misp.truth()
        assert server.faults.made


def test_pages_shorter_than_asked_for_and_empty_ones_do_not_end_the_reading(
    installation: Installation,
) -> None:
    for header in (True, False):
        with MispServer(skipped_header=header) as server:
            event = server.misp.add_event(
                "made up", [("domain", f"n{n}.listed.example") for n in range(50)]
            )
            # Two whole pages of 7 are warned of, and half of another one.
            server.misp.warn(*(f"n{n}.listed.example" for n in range(7, 24)))
            link(installation, server)
            refreshed(installation, full=True)
            found = sealed(installation, values_of(server.misp))
            assert found == server.misp.truth()
            assert len(found) == 33
            server.misp.delete_event(event)


def test_attributes_deleted_between_pages_move_no_other_past_us(
    linked: Installation, server: MispServer
) -> None:
    misp = server.misp
    events = [
        misp.add_event("made up", [("domain", f"n{e}-{n}.listed.example") for n in range(20)])
        for e in range(3)
    ]
    first = list(misp.attributes_of(events[0]))

    def delete(path: str, body: dict[str, object]) -> None:
        if path == "/attributes/restSearch" and body["page"] == 3 and first:
            for attribute in first[:5]:
                misp.delete(attribute, hard=True)
            first.clear()
            misp.publish(events[0])

    values = values_of(misp)
    misp.skew += 5
    server.before = delete
    refreshed(linked)
    assert not first
    assert sealed(linked, values) == misp.truth()
    assert len(misp.truth()) == 55


def test_event_that_never_stands_still_disturbs_itself_only(
    linked: Installation, server: MispServer
) -> None:
    misp = server.misp
    busy = misp.add_event("busy", [("domain", f"busy{n}.listed.example") for n in range(15)])
    misp.add_event("calm", [("domain", f"calm{n}.listed.example") for n in range(15)])
    misp.skew += 5

    def edit(path: str, body: dict[str, object]) -> None:
        if path == "/attributes/restSearch" and str(busy.id) in map(str, body["eventid"]):  # type: ignore[call-overload]
            misp.skew += 1
            misp.edit(misp.attributes_of(busy)[0], comment="again")
            misp.publish(busy)

    server.before = edit
    refreshed(linked)
    calm = {a.uuid for a in misp.attributes.values() if a.event is not busy}
    assert sealed(linked, values_of(misp)) == calm
    server.before = None
    misp.skew += 5
    refreshed(linked)
    assert sealed(linked, values_of(misp)) == misp.truth()


def test_only_what_changed_is_read_again(linked: Installation, server: MispServer) -> None:
    misp = server.misp
    misp.skew = -10_000
    events = [misp.add_event("made up", [("domain", f"n{n}.listed.example")]) for n in range(30)]
    refreshed(linked)
    misp.skew = 0
    refreshed(linked)
    misp.edit(misp.attributes_of(events[3])[0], to_ids=False)
    misp.publish(events[3])
    server.requests.clear()
    refreshed(linked)
    asked = [body["eventid"] for path, body in server.requests if path == "/attributes/restSearch"]
    assert asked == [[str(events[3].id)]]
    assert sealed(linked, values_of(misp)) == misp.truth()


def test_two_edits_within_one_second_are_both_seen(
    linked: Installation, server: MispServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.misp, "now", lambda: 1_800_000_000)
    event = server.misp.add_event("made up", [("domain", "n1.listed.example")])
    refreshed(linked)
    server.misp.add_attribute(event, "domain", "n2.listed.example")
    server.misp.publish(event)
    refreshed(linked)
    assert len(sealed(linked, values_of(server.misp))) == 2


def test_warninglist_changes_are_seen_by_a_full_reading(
    linked: Installation, server: MispServer
) -> None:
    misp = server.misp
    misp.skew = -10_000
    misp.add_event("made up", [("domain", f"n{n}.listed.example") for n in range(3)])
    refreshed(linked)
    misp.skew = 0
    refreshed(linked)
    misp.warn("n1.listed.example")
    refreshed(linked)
    assert len(sealed(linked, values_of(misp))) == 3
    done = linked.run("inkgate-rules", "refresh", "--misp", "web", "--full")
    assert done.returncode == 0, done.stderr
    assert sealed(linked, values_of(misp)) == misp.truth()


@pytest.mark.parametrize(
    ("more", "truth"),
    [
        ('types = ["domain", "sha256"]', {"types": ["domain", "sha256"]}),
        ('tags = ["made-up"]', {"tags": ["made-up"]}),
        ('orgs = ["Other Org"]', {"orgs": ["Other Org"]}),
        ("published = false", {"published": False}),
        ("enforce_warninglist = false", {"enforce_warninglist": False}),
        ("exclude_decayed = true", {"exclude_decayed": True}),
    ],
)  # fmt: skip
def test_filters(
    installation: Installation, server: MispServer, more: str, truth: dict[str, object]
) -> None:
    changes = Changes(server.misp, 7)
    for _ in range(8):
        changes.add_event()
    truth_now = server.misp.truth()
    some = [a for a in server.misp.attributes.values() if a.uuid in truth_now]
    server.misp.warn(some[1].value)
    some[2].decayed = True
    server.misp.skew += 5
    server.misp.add_event("other", [("domain", "other.example")], org="Other Org")
    server.misp.add_event("draft", [("domain", "draft.example")], publish=False)
    link(installation, server, more)
    refreshed(installation)
    found = sealed(installation, values_of(server.misp))
    assert found == server.misp.truth(**truth)  # type: ignore[arg-type]
    assert found != server.misp.truth()


def test_publisher_selects_by_tlp_and_organisation_of_the_event(
    linked: Installation, server: MispServer
) -> None:
    add = server.misp.add_event
    add("green", [("domain", "green.example")], tags=["tlp:green"])
    add("red", [("domain", "red.example")], tags=["tlp:red"])
    add("other", [("domain", "other.example")], org="Other Org")
    linked.config.write_text(
        linked.config.read_text()
        + '\n[rules.select]\nmax_tlp = "amber"\nnot_orgs = ["Other Org"]\n'
    )
    summary = refreshed(linked)
    assert summary.rules == 1
    assert sealed(linked, {("domain", "green.example")})


def test_message_tells_the_events_date_and_organisation(
    linked: Installation, server: MispServer
) -> None:
    server.misp.add_event("of an object", date="2025-12-24", publish=False)
    (event,) = server.misp.events.values()
    server.misp.add_attribute(event, "domain", "listed.example", object_id=3)
    server.misp.publish(event)
    text = linked.config.read_text()
    linked.config.write_text(
        text.replace("[rules]\n", '[rules]\nmessage = ["uuid", "event_uuid", "date", "org"]\n', 1)
    )
    refreshed(linked)
    (hit,) = linked.matcher().url("http://listed.example/") or (
        linked.matcher().look_up("domain", "name", b"listed.example"),
    )
    assert hit is not None
    (told,) = hit.message.attributes
    assert (told["event_uuid"], told["date"], told["org"]) == (event.uuid, "2025-12-24", "ORG")


def test_retry_after_is_honoured(linked: Installation, server: MispServer) -> None:
    server.misp.add_event("made up", [("domain", "listed.example")])

    def busy(path: str, body: dict[str, object]) -> None:
        # PyMISP's last question when it connects; it takes no notice of an earlier 429.
        if "describeTypes" in path:
            server.faults = Faults(1, 1.0, ["429-retry-after"], limit=1, retry_after=2)

    server.before = busy
    started = time.monotonic()
    refreshed(linked)
    assert time.monotonic() - started >= 2
    assert server.faults.made == ["429-retry-after"]


def test_misp_that_is_down_leaves_the_last_good_reading(
    linked: Installation, server: MispServer
) -> None:
    server.misp.add_event("made up", [("domain", "listed.example")])
    refreshed(linked)
    link(linked, server, "retries = 1")
    server.faults = Faults(1, 1.0, ["500", "drop"], limit=10_000, in_a_row=10_000)
    done = linked.run("inkgate-rules", "refresh")
    assert done.returncode == 1
    assert f"127.0.0.1:{server.port}" in done.stderr
    assert "its last good reading counts" in done.stderr
    assert sealed(linked, {("domain", "listed.example")}) == server.misp.truth()
    server.close()
    assert linked.run("inkgate-rules", "refresh").returncode == 1
    assert sealed(linked, {("domain", "listed.example")}) == server.misp.truth()


def test_reading_that_breaks_off_goes_on_where_it_was(
    linked: Installation, server: MispServer
) -> None:
    misp = server.misp
    for n in range(130):
        misp.add_event("made up", [("domain", f"n{n}.listed.example")])
    link(linked, server, "retries = 0")

    def broken(path: str, body: dict[str, object]) -> None:
        if path == "/attributes/restSearch" and "129" in map(str, body["eventid"]):  # type: ignore[call-overload]
            server.faults = Faults(1, 1.0, ["500"], limit=10_000, in_a_row=10_000)

    server.before = broken
    summary = linked.refresh(full=True)
    assert summary.unreadable
    assert len(sealed(linked, values_of(misp))) == 100
    server.before, server.faults = None, Faults()
    server.requests.clear()
    refreshed(linked)
    assert sealed(linked, values_of(misp)) == misp.truth()


def test_wrong_key_is_one_clear_line_without_the_key(
    linked: Installation, server: MispServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.misp.add_event("made up", [("domain", "listed.example")])
    refreshed(linked)
    server.keys.clear()
    server.keys["another"] = Role()
    server.requests.clear()
    done = linked.run("inkgate-rules", "refresh")
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if "127.0.0.1" in line]
    assert "does not accept the key; check key_file or key_variable" in line
    assert len(server.requests) <= 3
    with caplog.at_level(logging.DEBUG):
        summary = linked.refresh()
    told = f"{done.stdout}{done.stderr}{caplog.text}{summary.unreadable!r}"
    assert server.key not in told
    server.keys[server.key] = Role()


def test_key_is_never_told_whatever_fails(
    linked: Installation, server: MispServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.misp.add_event("made up", [("domain", "listed.example")])
    link(linked, server, "retries = 2", timeout=0.6)
    with caplog.at_level(logging.DEBUG):
        for seed in range(6):
            server.faults = Faults(
                seed, 1.0, limit=99, in_a_row=99, hang_seconds=0.7, retry_after=0
            )
            with pytest.raises(RefreshError) as raised:
                linked.refresh()
            assert server.key not in f"{raised.value!r}{raised.getrepr()}{caplog.text}"


def test_key_comes_from_the_environment_and_is_no_argument(
    installation: Installation, server: MispServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.misp.add_event("made up", [("domain", "listed.example")])
    link(installation, server)
    text = installation.config.read_text()
    installation.config.write_text(text.replace('key_file = "misp.key"\n', ""))
    (installation.config.parent / "misp.key").unlink()
    done = installation.run("inkgate-rules", "refresh")
    assert done.returncode == 2
    assert "set INKGATE_MISP_KEY" in done.stderr
    monkeypatch.setenv("INKGATE_MISP_KEY", server.key)
    arguments = [BIN / "inkgate-rules", "--config", installation.config, "refresh"]
    server.faults = Faults(1, 1.0, ["hang"], limit=1, hang_seconds=0.5)
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as process:
        seen = set()
        while process.poll() is None:
            seen.add(Path(f"/proc/{process.pid}/cmdline").read_bytes())
            time.sleep(0.01)
    assert process.returncode == 0
    assert seen
    assert not any(server.key.encode() in line for line in seen)


def test_tls_is_verified_unless_its_ca_is_named(installation: Installation, tmp_path: Path) -> None:
    pair = self_signed(tmp_path)
    with MispServer(tls=pair) as server:
        server.misp.add_event("made up", [("domain", "listed.example")])
        link(installation, server)
        with pytest.raises(RefreshError, match=r"not trusted; name the file of its CA in ca_file"):
            installation.refresh()
        assert not server.requests
        link(installation, server, 'ca_file = "missing.pem"')
        with pytest.raises(RefreshError, match=r"missing\.pem: does not exist"):
            installation.refresh()
        link(installation, server, f'ca_file = "{pair[0]}"')
        assert refreshed(installation).rules == 1


def test_fifty_thousand_attributes(installation: Installation, server: MispServer) -> None:
    for e in range(50):
        server.misp.add_event("many", [("sha256", f"{e * 1000 + n:064x}") for n in range(1000)])
    link(installation, server)
    text = installation.config.read_text()
    installation.config.write_text(text.replace("page_size = 7", "page_size = 2000"))
    assert refreshed(installation).rules == 50_000
