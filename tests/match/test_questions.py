"""`inkgate-rules match TYPE=VALUE`: a question is answered as a proxy would."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from inkgate.rules.match.engine import Engine
from inkgate.rules.match.errors import MatchError
from inkgate.rules.match.questions import answers, parse_question
from support.installation import BIN, Installation, attribute

MD5 = "ab" * 16
LISTED = (
    ("domain", "evil.example"),
    ("hostname", "host.example"),
    ("hostname|port", "ports.example|8443"),
    ("domain|ip", "pair.example|192.0.2.1"),
    ("url", "http://files.example/bad"),
    ("ip-dst", "198.51.100.0/24"),
    ("ip-dst", "203.0.113.7"),
    ("ip-dst", "2001:db8::/32"),
    ("ip-dst|port", "203.0.113.9|8080"),
    ("ip-src", "10.0.0.0/8"),
    ("ip-src|port", "172.16.0.1|4444"),
    ("user-agent", "Evil/1"),
    ("md5", MD5),
    ("filename|md5", "x.exe|" + "cd" * 16),
    ("regkey", "HKLM\\x"),
)


@pytest.fixture(scope="module")
def listed() -> Iterator[Installation]:
    made = Installation()
    made.add("listed", *(attribute(kind, value) for kind, value in LISTED))
    made.configure("domain_ip_by_domain = false")
    made.refresh()
    yield made
    made.close()


@pytest.fixture(scope="module")
def engine(listed: Installation) -> Engine:
    return Engine(listed.matcher(), 1000)


def asked(engine: Engine, *arguments: str) -> list[tuple[str, str]]:
    questions = [parse_question(text, n, ()) for n, text in enumerate(arguments, 1)]
    return [(shown, match.indicator_class) for shown, match in answers(engine, questions)]


@pytest.mark.parametrize(
    ("question", "classes"),
    [
        ("url=http://evil.example/", ["domain"]),
        ("url=https://www.evil.example:444/a?b", ["domain"]),
        ("url=hxxp://www.evil[.]example/a", ["domain"]),
        ("link=http://files.example/bad?x", ["url"]),
        ("uri=http://files.example/bad", ["url"]),
        ("url=http://files.example/good", []),
        ("url=http://ports.example:8443/", ["hostname|port"]),
        ("url=https://ports.example/", []),
        ("url=http://198.51.100.9/", ["ip-dst"]),
        ("url=http://[2001:db8::5]/", ["ip-dst"]),
        ("url=http://203.0.113.9:8080/", ["ip-dst|port"]),
        # Nobody would list these, but a proxy reads their hosts.
        ("url=http://evil.example/%zz%", ["domain"]),
        ("uri=/a/path", []),
        ("domain=www.evil.example", ["domain"]),
        ("domain=host.example", ["hostname"]),
        ("domain=198.51.100.9", ["ip-dst"]),
        ("hostname=a.b.evil.example", ["domain"]),
        ("hostname=www.host.example", []),
        ("hostname|port=evil.example|1", ["domain"]),
        ("hostname|port=ports.example|8443", ["hostname|port"]),
        ("hostname|port=ports.example|443", []),
        ("domain|ip=pair.example|192.0.2.1", ["domain|ip"]),
        ("domain|ip=pair.example|192.0.2.2", []),
        ("domain|ip=evil.example|198.51.100.9", ["domain", "ip-dst"]),
        ("ip-dst=198.51.100.9", ["ip-dst"]),
        ("ip-dst=198.51.100.0/24", ["ip-dst"]),
        ("ip-dst=198.51.100.128/25", ["ip-dst"]),
        ("ip-dst=198.51.0.0/16", []),
        ("ip-dst=2001:db8:1::/48", ["ip-dst"]),
        ("ip=198.51.100.9", ["ip-dst"]),
        ("ip-dst|port=198.51.100.9|1", ["ip-dst"]),
        ("ip-dst|port=203.0.113.9|8080", ["ip-dst|port"]),
        ("ip-src=10.1.2.3", ["ip-src"]),
        ("ip-src|port=10.1.2.3|9", ["ip-src"]),
        ("user-agent=Evil/1", ["user-agent"]),
        ("filename|md5=a|" + MD5, ["md5"]),
        ("malware-sample=x.exe|" + "cd" * 16, ["filename|md5"]),
        ("regkey|value=HKLM\\x|1", ["regkey"]),
    ],
)
def test_a_question_is_answered_as_a_proxy_would(
    engine: Engine, question: str, classes: list[str]
) -> None:
    assert asked(engine, question) == [(question, name) for name in classes]


@pytest.mark.parametrize(
    ("together", "found"),
    [
        ("ip-dst=203.0.113.9 port=8080", "ip-dst|port"),
        ("port=8080 ip-dst=203.0.113.9", "ip-dst|port"),
        ("ip=203.0.113.9 port=8080", "ip-dst|port"),
        ("ip-dst=203.0.113.9 port=80", ""),
        ("ip-src=172.16.0.1 port=4444", "ip-src|port"),
        ("hostname=ports.example port=8443", "hostname|port"),
        ("domain=ports.example port=8443", "hostname|port"),
        ("domain=pair.example ip-dst=192.0.2.1", "domain|ip"),
        ("url=http://pair.example/x ip-dst=192.0.2.1", "domain|ip"),
        ("md5=" + "cd" * 16 + " filename=x.exe", "filename|md5"),
    ],
)
def test_values_of_one_observation_are_asked_together(
    engine: Engine, together: str, found: str
) -> None:
    assert asked(engine, *together.split()) == ([(together, found)] if found else [])


def test_a_type_that_comes_again_begins_another_observation(engine: Engine) -> None:
    found = asked(
        engine, "ip-dst=203.0.113.9", "port=1", "ip-dst=203.0.113.8", "port=8080", "ip-dst=1.2.3.4"
    )
    assert found == []
    found = asked(engine, "ip-dst=203.0.113.8", "port=1", "ip-dst=203.0.113.9", "port=8080")
    assert found == [("ip-dst=203.0.113.9 port=8080", "ip-dst|port")]


@pytest.mark.parametrize(
    ("name", "near"), [("hostnam", "hostname"), ("Domain", "domain"), ("ip_dst", "ip-dst")]
)
def test_an_unknown_type_is_named_with_the_nearest_one(name: str, near: str) -> None:
    with pytest.raises(MatchError, match=f"argument 3: '{name}' is no type.*do you mean {near}"):
        parse_question(f"{name}=evil.example", 3, ())


def test_a_type_of_tomorrow_is_known_where_the_set_has_it(engine: Engine) -> None:
    with pytest.raises(MatchError, match="no type of MISP"):
        parse_question("of-tomorrow=x", 1, ())
    assert parse_question("of-tomorrow=x", 1, {"of-tomorrow"}).entry.values


@pytest.mark.slow
def test_one_refused_value_does_not_end_the_batch(listed: Installation) -> None:
    done = listed.run(
        "inkgate-rules",
        *("match", "--json", "domain=evil.example", "ip-dst=none", "hostnam=x.example", "md5=zz"),
        *("hostname=host.example",),
    )
    assert done.returncode == 2
    assert [json.loads(line)["query"] for line in done.stdout.splitlines()] == [
        "domain=evil.example",
        "hostname=host.example",
    ]
    said = done.stderr.splitlines()
    assert [line.split(":")[1] for line in said] == [" argument 2", " argument 3", " argument 4"]
    assert "do you mean hostname?" in said[1]
    assert "zz" not in done.stderr


@pytest.mark.slow
def test_a_reader_that_wants_no_more_is_no_error(listed: Installation) -> None:
    log = listed.folder / "access.log"
    line = "1700000000.0 1 192.0.2.9 TCP_MISS/200 1 GET http://evil.example/ - HIER_NONE/- -\n"
    log.write_text(line * 20_000)
    for jobs in ("1", "2"):
        command = [BIN / "inkgate-rules", "--config", listed.config, "match", "--jobs", jobs, log]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdout
        assert process.stderr
        assert b"evil.example" in process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
        # As a shell says of a command that SIGPIPE has ended: neither "nothing" nor an error.
        assert (process.wait(60), said) == (141, b"")


@pytest.mark.slow
def test_a_reader_that_has_gone_ends_the_following_of_a_log_in_which_nothing_comes(
    listed: Installation,
) -> None:
    log = listed.folder / "access.log"
    log.write_text(
        "1700000000.0 1 192.0.2.9 TCP_MISS/200 1 GET http://evil.example/ - HIER_NONE/- -\n"
    )
    command = [BIN / "inkgate-rules", "--config", listed.config, "match", "--follow", log]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stderr
    assert b"evil.example" in process.stdout.readline()
    process.stdout.close()
    assert (process.wait(60), process.stderr.read()) == (141, b"")
    process.stderr.close()
