"""Several proxies and one reporter with a real redis-server between them."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from inkgate.config.settings_file import SettingsError, load_section
from inkgate.sightings.journal.backends.backend import StoreAwayError, StoreRefusedError
from inkgate.sightings.journal.backends.redis_stream import Stream
from inkgate.sightings.journal.backends.relay import Collect, Drain
from inkgate.sightings.journal.database import installation, open_writer
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.report.reporter import Reporter
from inkgate.sightings.settings import MispSettings, RedisSettings, SightingsSettings
from support.misp import MispServer
from support.redis_server import RedisServer
from support.reporting import (
    Killed,
    Reporting,
    Writers,
    counted,
    populated,
    rough,
    sighting,
    truth,
    wait_for_requests,
)
from support.squid import free_port
from support.waiting import wait_until


@pytest.fixture(scope="module")
def shared_redis() -> Iterator[RedisServer]:
    with RedisServer() as made:
        yield made


@pytest.fixture
def server(shared_redis: RedisServer) -> RedisServer:
    shared_redis.client().flushall()
    return shared_redis


def stream(server: RedisServer, tmp_path: Path, consumer: str = "r", **more: object) -> Stream:
    settings = RedisSettings(**{"timeout": 2.0, **more})  # type: ignore[arg-type]
    return Stream(server.url, settings, tmp_path, consumer)


def filled(path: Path, count: int, node: str = "proxy1", first: int = 0) -> Path:
    journal = Journal(path)
    journal.append(
        [sighting(["u"], incident=f"IG-{node}-{n}", node=node) for n in range(first, first + count)]
    )
    journal.close()
    return path


def drained(path: Path, target: Stream) -> int:
    with Drain(path, target) as drain:
        done = 0
        while some := drain.step():
            done += some
        return done


def collected(source: Stream, path: Path) -> int:
    collect = Collect(source, Journal(path))
    done = 0
    while some := collect.step():
        done += some
    return done


def incidents(path: Path) -> list[str]:
    return sorted(s.incident for s in Journal(path).read())


def test_two_proxies_one_reporter(server: RedisServer, tmp_path: Path) -> None:
    one, two = filled(tmp_path / "1.db", 700, "a"), filled(tmp_path / "2.db", 600, "b")
    link = stream(server, tmp_path)
    assert (drained(one, link), drained(two, link)) == (700, 600)
    assert collected(link, tmp_path / "all.db") == 1300
    assert incidents(tmp_path / "all.db") == sorted(incidents(one) + incidents(two))
    assert drained(one, link) == 0
    assert server.client().xlen("inkgate:sightings") == 0


def test_nothing_is_trimmed_before_it_is_acknowledged(server: RedisServer, tmp_path: Path) -> None:
    link = stream(server, tmp_path)
    drained(filled(tmp_path / "1.db", 20), link)
    link.prepare()
    taken = link.take(10)
    link.acknowledge([name for name, _ in taken[5:]])
    assert server.client().xlen("inkgate:sightings") == 20
    link.acknowledge([name for name, _ in taken[:5]])
    assert server.client().xlen("inkgate:sightings") == 10


def test_another_group_keeps_what_it_has_not_read(server: RedisServer, tmp_path: Path) -> None:
    siem = stream(server, tmp_path, group="siem")
    siem.prepare()
    drained(filled(tmp_path / "1.db", 30), siem)
    collected(stream(server, tmp_path), tmp_path / "all.db")
    assert server.client().xlen("inkgate:sightings") == 30
    assert collected(siem, tmp_path / "siem.db") == 30
    assert server.client().xlen("inkgate:sightings") == 0


def test_reporter_that_died_reads_its_own_entries_again(
    server: RedisServer, tmp_path: Path
) -> None:
    link = stream(server, tmp_path)
    drained(filled(tmp_path / "1.db", 30), link)
    link.prepare()
    assert len(link.take(10)) == 10
    assert collected(stream(server, tmp_path), tmp_path / "all.db") == 30


def test_stale_entries_of_a_dead_reporter_are_claimed(server: RedisServer, tmp_path: Path) -> None:
    dead = stream(server, tmp_path, "dead")
    drained(filled(tmp_path / "1.db", 30), dead)
    dead.prepare()
    assert len(dead.take(10)) == 10
    assert collected(stream(server, tmp_path, "heir"), tmp_path / "all.db") == 20
    assert collected(stream(server, tmp_path, "heir", claim_seconds=0.0), tmp_path / "all.db") == 10
    assert len(incidents(tmp_path / "all.db")) == 30


def test_what_comes_twice_counts_once(server: RedisServer, tmp_path: Path) -> None:
    path = filled(tmp_path / "1.db", 40)
    link = stream(server, tmp_path)
    drained(path, link)
    with Drain(path, link) as drain:
        drain._connection.execute("UPDATE positions SET id = 0")
    assert drained(path, link) == 40
    assert collected(link, tmp_path / "all.db") == 80
    assert incidents(tmp_path / "all.db") == incidents(path)


def test_unreadable_entries_are_put_aside(server: RedisServer, tmp_path: Path) -> None:
    client = server.client()
    link = stream(server, tmp_path)
    for fields in ({"x": "y"}, {"origin": "o", "record": "{"}, {"origin": b"\xff", "record": "{}"},
                   {"origin": "o" * 300, "record": "{}"}):  # fmt: skip
        client.xadd("inkgate:sightings", fields)
    drained(filled(tmp_path / "1.db", 3), link)
    collected(link, tmp_path / "all.db")
    assert len(incidents(tmp_path / "all.db")) == 3
    assert client.xlen("inkgate:sightings:unreadable") == 4


def test_away_redis_leaves_records_here(tmp_path: Path) -> None:
    with RedisServer() as server:
        link = stream(server, tmp_path)
        path = filled(tmp_path / "1.db", 10)
        server.stop()
        with pytest.raises(StoreAwayError):
            drained(path, link)
        filled(path, 10, first=10)
        server.start()
        assert drained(path, link) == 20


def test_killed_redis_that_forgot_its_last_second_gets_it_again(tmp_path: Path) -> None:
    # Without an append-only file a killed Redis forgets all: the worst that can be.
    with RedisServer("appendonly no", 'save ""') as server:
        link = stream(server, tmp_path)
        path = filled(tmp_path / "1.db", 10)
        assert drained(path, link) == 10
        server.kill()
        server.start()
        assert drained(path, link) == 10
        assert drained(path, link) == 0
        assert collected(link, tmp_path / "all.db") == 10


def test_appended_only_file_survives_a_stop(tmp_path: Path) -> None:
    with RedisServer() as server:
        link = stream(server, tmp_path)
        path = filled(tmp_path / "1.db", 10)
        drained(path, link)
        link.prepare()
        assert len(link.take(4)) == 4
        server.stop()
        server.start()
        assert collected(stream(server, tmp_path), tmp_path / "all.db") == 10


def test_emptied_redis_gets_all_that_is_still_here_again(
    server: RedisServer, tmp_path: Path
) -> None:
    link = stream(server, tmp_path)
    one, two = filled(tmp_path / "1.db", 30, "a"), filled(tmp_path / "2.db", 20, "b")
    assert (drained(one, link), drained(two, link)) == (30, 20)
    server.client().flushall()
    assert server.client().xlen("inkgate:sightings") == 0
    # The first one leaves a new mark, and the other does not take it for its own.
    assert (drained(one, link), drained(two, link)) == (30, 20)
    assert (drained(one, link), drained(two, link)) == (0, 0)
    assert collected(link, tmp_path / "all.db") == 50
    assert incidents(tmp_path / "all.db") == sorted(incidents(one) + incidents(two))


def test_store_that_keeps_no_mark_is_not_given_everything_again_and_again(
    server: RedisServer, tmp_path: Path
) -> None:
    link = stream(server, tmp_path)
    path = filled(tmp_path / "1.db", 30)
    with Drain(path, link) as drain:
        given = [drain.step()]
        for _ in range(5):
            server.client().delete("inkgate:sightings:mark")
            given.append(drain.step())
        assert given == [30, 30, 0, 0, 0, 0]
    # What was put off is not forgotten.
    assert drained(path, link) == 30


def test_what_was_collected_before_redis_was_emptied_counts_once(
    server: RedisServer, tmp_path: Path
) -> None:
    link = stream(server, tmp_path)
    path = filled(tmp_path / "1.db", 10)
    drained(path, link)
    collected(link, tmp_path / "all.db")
    filled(path, 10, first=10)
    drained(path, link)
    server.client().flushall()
    assert drained(path, link) == 20
    assert collected(stream(server, tmp_path), tmp_path / "all.db") == 20
    assert incidents(tmp_path / "all.db") == incidents(path)


def test_records_are_handed_over_again_by_hand(server: RedisServer, tmp_path: Path) -> None:
    with MispServer() as misp:
        lines = f'journal = "{server.url}"'
        with Reporting(misp, sightings=lines) as reporting:
            filled(reporting.folder / "sightings.db", 12)
            assert reporting.run("drain") == "handed over 12\n"
            server.client().delete("inkgate:sightings")
            assert reporting.run("drain") == "handed over 0\n"
            assert reporting.run("drain", "--again") == "handed over 12\n"
            assert reporting.run("drain") == "handed over 0\n"
            assert server.client().xlen("inkgate:sightings") == 12


def test_user_who_may_not_see_the_mark_hands_over_all_the_same(tmp_path: Path) -> None:
    old = "user old on nopass ~inkgate:sightings +xadd +info +ping +client|setname"
    with RedisServer(old) as server:
        (tmp_path / "password").write_text("x")
        link = stream(server, tmp_path, user="old", password_file="password")
        path = filled(tmp_path / "1.db", 5)
        assert (drained(path, link), drained(path, link)) == (5, 0)


def test_consumers_of_hosts_that_are_gone_leave_the_group(
    server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def consumers() -> set[str]:
        found = server.client().xinfo_consumers("inkgate:sightings", "misp")
        return {c["name"].decode() for c in found}

    drained(filled(tmp_path / "1.db", 30), stream(server, tmp_path))
    for name, count in (("waits", 5), ("gone", 0), ("also-gone", 0)):
        other = stream(server, tmp_path, name)
        other.prepare()
        server.client().xgroup_createconsumer("inkgate:sightings", "misp", name)
        if count:
            other.take(count)
    stream(server, tmp_path, "mine").prepare()
    assert consumers() == {"waits", "gone", "also-gone"}
    monkeypatch.setattr("inkgate.sightings.journal.backends.redis_stream._GONE_SECONDS", 0)
    stream(server, tmp_path, "gone").prepare()
    # One's own stays, and one with entries that nobody has taken over.
    assert consumers() == {"waits", "gone"}


def refusal(target: Stream, path: Path) -> str:
    with pytest.raises((StoreAwayError, StoreRefusedError)) as told:
        drained(path, target)
    return str(told.value)


def test_what_redis_refuses_is_said_in_words(tmp_path: Path) -> None:
    path = filled(tmp_path / "1.db", 3)
    with RedisServer() as server, RedisServer(f"replicaof 127.0.0.1 {server.port}") as replica:
        client = server.client()
        client.config_set("maxmemory", "1")
        assert "no memory left; raise its maxmemory" in refusal(stream(server, tmp_path), path)
        client.config_set("maxmemory", "0")
        link = stream(replica, tmp_path)
        wait_until(lambda: "is a replica" in refusal(link, path), "the replica to be one")
        client.set("inkgate:sightings", "text")
        assert "something else than a stream" in refusal(stream(server, tmp_path), path)
        client.delete("inkgate:sightings")
        client.config_set("min-replicas-to-write", "5")
        assert "fewer replicas" in refusal(stream(server, tmp_path), path)
    with RedisServer("rename-command XADD ''") as old:
        said = refusal(stream(old, tmp_path), path)
        assert "asked for XADD, which it does not know" in said
        assert "proxy1" not in said
    with RedisServer("cluster-enabled yes", f"cluster-port {free_port()}") as cluster:
        assert "cluster" in refusal(stream(cluster, tmp_path), path).lower()


def certificate(folder: Path) -> tuple[Path, Path]:
    key, cert = folder / "tls.key", folder / "tls.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=redis.example",
         "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return key, cert


def test_tls_and_acl_user(tmp_path: Path) -> None:
    key, cert = certificate(tmp_path)
    proxy = (
        "on >proxy-password ~inkgate:sightings ~inkgate:sightings:mark +xadd +info +set +get "
        "+ping +client|setname"
    )
    reporter = (
        "on >reporter-password ~inkgate:sightings ~inkgate:sightings:unreadable "
        "~inkgate:sightings:installation +set +get "
        "+xreadgroup +xautoclaim +xack +xtrim +xpending +xrange +xadd +exists +xinfo|groups "
        "+xinfo|consumers +xgroup|create +xgroup|delconsumer +eval "
        "+ping +client|setname"
    )
    with RedisServer(
        f"tls-cert-file {cert}", f"tls-key-file {key}", f"tls-ca-cert-file {cert}",
        "tls-auth-clients no", "user default off", f"user proxy {proxy}",
        f"user reporter {reporter}", scheme="rediss",
    ) as server:  # fmt: skip
        for name in ("proxy", "reporter"):
            (tmp_path / name).write_text(f"{name}-password\n")
        secure = {"ca_file": "tls.crt"}
        path = filled(tmp_path / "1.db", 10)
        out = stream(server, tmp_path, user="proxy", password_file="proxy", **secure)
        assert drained(path, out) == 10
        into = stream(server, tmp_path, user="reporter", password_file="reporter", **secure)
        assert collected(into, tmp_path / "all.db") == 10
        with pytest.raises(StoreRefusedError, match="ACL"):
            collected(out, tmp_path / "other.db")
        (tmp_path / "wrong").write_text("other-password")
        wrong = stream(server, tmp_path, user="proxy", password_file="wrong", **secure)
        with pytest.raises(StoreRefusedError) as refused:
            wrong.server()
        assert "other-password" not in str(refused.value)
        stranger = stream(server, tmp_path, user="proxy", password_file="proxy")
        with pytest.raises(StoreAwayError):
            stranger.server()


def test_password_in_the_url_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "inkgate.toml"
    config.write_text('[sightings]\njournal = "rediss://user:secret-word@redis.example"\n')
    with pytest.raises(SettingsError, match="password_file") as error:
        load_section(config, "sightings", SightingsSettings)
    assert "secret-word" not in str(error.value)


@pytest.mark.slow
def test_kills_faults_and_redis_restarts_lose_and_double_nothing() -> None:
    with RedisServer() as redis, MispServer(populated(20, 10), rough(11, rate=0.1)) as server:
        lines = f'journal = "{redis.url}"'
        claim = "[sightings.redis]\nclaim_seconds = 0.5\ntimeout = 2.0"
        with Reporting(server, sightings=lines, more=claim) as reporting:
            spools = [(reporting.folder / "sightings.db", "proxy1")] * 4
            writers = Writers(server.misp, reporting.folder, spools, 750)
            drain = subprocess.Popen(
                reporting.command("drain", "--follow"), stderr=subprocess.DEVNULL
            )
            killed = Killed(reporting.command("report", "--follow"), server, 5, seed=11)
            for how in (redis.stop, redis.kill):
                wait_for_requests(server, 3)
                how()
                redis.stand_in(3)
                redis.start()
            killed.wait()
            writers.wait()
            drain.terminate()
            assert drain.wait(60) == 0
            reporting.run("drain")
            reporting.run("report")
            assert reporting.told() == truth([reporting.folder / "sightings.db"])
            assert counted(reporting.folder / "collected.db") == 3000
            assert reporting.json("status")[0]["refused"] == 0


def test_reporters_of_one_stream_name_sightings_alike(server: RedisServer, tmp_path: Path) -> None:
    link = stream(server, tmp_path)
    names = []
    for path in (tmp_path / "one.db", tmp_path / "other.db"):
        drained(filled(tmp_path / f"spool-{path.name}", 1), link)
        collected(link, path)
        with closing(open_writer(path)) as connection:
            names.append(installation(connection))
    assert names[0] == names[1]
    server.client().flushall()  # whoever comes next tells Redis again
    collected(stream(server, tmp_path), tmp_path / "other.db")
    assert server.client().get("inkgate:sightings:installation") == names[0].encode()


def test_wrong_installation_in_redis_is_refused(server: RedisServer, tmp_path: Path) -> None:
    server.client().set("inkgate:sightings:installation", "x" * 32)
    with pytest.raises(StoreRefusedError, match="delete that key"):
        collected(stream(server, tmp_path), tmp_path / "all.db")


def test_collected_is_on_the_disk_before_it_is_acknowledged(
    server: RedisServer, tmp_path: Path
) -> None:
    config = tmp_path / "inkgate.toml"
    settings = SightingsSettings(journal=server.url, collected=str(tmp_path / "all.db"))
    misp = MispSettings(url="https://misp.example", key_file="key")
    (tmp_path / "key").write_text("key")
    settings = msgspec.structs.replace(settings, misp=misp)
    with closing(Reporter(config, settings, print, threading.Event())) as reporter:
        collect = reporter._collecting()
        assert collect is not None
        collect()
        connection = collect.__self__._journal._writer()  # type: ignore[attr-defined]
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_stream_without_groups_is_not_trimmed(server: RedisServer, tmp_path: Path) -> None:
    link = stream(server, tmp_path)
    drained(filled(tmp_path / "1.db", 3), link)
    link._trim()
    assert server.client().xlen("inkgate:sightings") == 3


def test_impossible_time_is_put_aside(server: RedisServer, tmp_path: Path) -> None:
    for number, moment in enumerate((1e300, -1.0, 253402300800.0)):
        record = msgspec.json.encode(sighting(["u"], moment))
        server.client().xadd("inkgate:sightings", {"origin": f"o{number}", "record": record})
    collected(stream(server, tmp_path), tmp_path / "all.db")
    assert incidents(tmp_path / "all.db") == []
    assert server.client().xlen("inkgate:sightings:unreadable") == 3


def test_unreadable_password_ends_the_reporter(server: RedisServer) -> None:
    lines = f'journal = "{server.url}"'
    more = '[sightings.redis]\nuser = "u"\npassword_file = "nowhere"'
    with MispServer() as misp, Reporting(misp, sightings=lines, more=more) as reporting:
        said = reporting.run("report", "--follow", status=2)
        assert "nowhere" in said
        assert "Traceback" not in said


def test_collecting_that_dies_ends_the_reporter(server: RedisServer) -> None:
    lines = f'journal = "{server.url}"'
    with MispServer() as misp, Reporting(misp, sightings=lines) as reporting:
        settings = load_section(reporting.config, "sightings", SightingsSettings)
        stop = threading.Event()
        with closing(Reporter(reporting.config, settings, print, stop)) as reporter:
            broken = Collect(reporter, Journal(reporter.path))  # type: ignore[arg-type]
            reporter._collect = broken.step
            with pytest.raises(AttributeError):
                reporter.follow()


@pytest.mark.slow
def test_false_positive_of_a_shared_journal_is_told_by_its_reporter(server: RedisServer) -> None:
    lines = f'journal = "{server.url}"'
    with MispServer(populated(1, 1)) as misp, Reporting(misp, sightings=lines) as reporting:
        (a,) = misp.misp.attributes.values()
        reporting.journal.append([sighting([a.uuid], incident="IG-0000000001", events=("1",))])
        said = reporting.run("false-positive", "IG-0000000001", status=2)
        assert "run inkgate-sightings false-positive IG-0000000001" in said
        reporting.run("report")  # makes it a reporter; the incident is only on the spool
        assert "reported" in reporting.run("false-positive", "IG-0000000001")
        assert [kind for *_, kind in reporting.told()] == ["1"]


@pytest.mark.parametrize(
    "url", ["redis://h/0?password=secret-word", "redis://h/0?pass%77ord=secret-word"]
)
def test_password_in_the_query_is_refused(tmp_path: Path, url: str) -> None:
    config = tmp_path / "inkgate.toml"
    config.write_text(f'[sightings]\njournal = "{url}"\n')
    with pytest.raises(SettingsError, match="password_file") as error:
        load_section(config, "sightings", SightingsSettings)
    assert "secret-word" not in str(error.value)
