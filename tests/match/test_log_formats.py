"""Lines of logs to what they show; known answers by the formats' own documentation."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkgate.rules.match.logs.clean_log_parts import CleanLogParts
from inkgate.rules.match.logs.entry import Entry
from inkgate.rules.match.logs.json_log import JsonLog, _flat
from inkgate.rules.match.logs.registry import guess, open_reader
from inkgate.rules.match.logs.squid_format import FormatError
from inkgate.rules.match.logs.squid_log import SquidLog
from inkgate.rules.match.logs.times import parse_time
from inkgate.rules.match.logs.zeek_log import ZeekLog, last_header

NATIVE = (
    "1700000000.123     45 192.0.2.9 TCP_MISS/200 1234 GET http://a.example:8080/p?x=1 - "
    "HIER_DIRECT/198.51.100.7 text/html"
)
COMBINED = (
    "192.0.2.9 - - [14/Nov/2023:22:13:20 +0000] "
    '"GET http://a.example/p HTTP/1.1" 200 2326 "-" "Mozilla/5.0 (\\"x\\" y)" TCP_MISS:HIER_DIRECT'
)
HTTP = (
    "#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tmethod\thost\turi\tuser_agent",
    "1700000000.5\tC1\t192.0.2.9\t40000\t198.51.100.7\t8080\tGET\ta.example\t/p?x\tagent\\x09one",
)


def test_squid_native() -> None:
    assert SquidLog("squid").entry(NATIVE) == Entry(
        time="1700000000.123",
        client="192.0.2.9",
        method="GET",
        uri="http://a.example:8080/p?x=1",
        server="198.51.100.7",
    )


def test_squid_tunnel_and_unreadable_request() -> None:
    tunnel = NATIVE.replace("GET http://a.example:8080/p?x=1", "CONNECT a.example:443")
    found = SquidLog("squid").entry(tunnel)
    assert found is not None
    assert (found.method, found.uri) == ("CONNECT", "a.example:443")
    fault = NATIVE.replace("GET http://a.example:8080/p?x=1", "NONE error:invalid-request")
    found = SquidLog("squid").entry(fault)
    assert found is not None
    assert found.uri == ""


@pytest.mark.parametrize("end", ["", " TCP_MISS:HIER_DIRECT"])
def test_combined_of_squid_and_of_a_web_server(end: str) -> None:
    line = COMBINED.removesuffix(" TCP_MISS:HIER_DIRECT") + end
    found = SquidLog("combined").entry(line)
    assert found is not None
    assert found.uri == "http://a.example/p"
    assert found.user_agent == 'Mozilla/5.0 (\\"x\\" y)'
    assert parse_time(found.time) == 1_700_000_000.0


def test_custom_logformat() -> None:
    log = SquidLog('%{%Y}tg %>a:%>p "%#ru" %<a %ssl::>sni "%{User-Agent}>h"')
    line = '2023 192.0.2.9:40000 "http://a.example/p q" 198.51.100.7 b.example "agent one"'
    assert log.entry(line) == Entry(
        time="2023",
        client="192.0.2.9",
        uri="http://a.example/p q",
        server="198.51.100.7",
        user_agent="agent one",
        names=("b.example",),
    )


# By encoding: the codes, and how each writes a value (squid.conf manual, logformat).
VALUE = 'a"b\\c\td%e[f] g'
ENCODED = {
    '"%{User-Agent}>h" x': '"a\\"b\\\\c\\td%e[f] g" x',
    '%"{User-Agent}>h|x': 'a\\"b\\\\c\\td%e[f] g|x',
    "[%{User-Agent}>h] x": '[a"b\\\\c%09d%25e%5Bf%5D g] x',
    "%#{User-Agent}>h x": "a%22b%5Cc%09d%25e%5Bf%5D%20g x",
    "%/{User-Agent}>h x": '"a\\"b\\\\c\td%e[f] g" x',
    "%'{User-Agent}>h|x": VALUE + "|x",
    '"%\'{User-Agent}>h"': f'"{VALUE}"',
    "%{User-Agent}http::>h x": "a%22b%5Cc%09d%e%5Bf%5D%20g x",
}


@pytest.mark.parametrize("text", ENCODED)
def test_what_an_encoding_did_is_undone(text: str) -> None:
    found = SquidLog(text).entry(ENCODED[text])
    assert found is not None
    assert VALUE in (found.user_agent, *(agent for _, agent in found.readings))


def test_an_escape_that_may_be_the_clients_own_is_read_both_ways() -> None:
    found = SquidLog("%{User-Agent}>h|%>ru").entry("a%20b|http://a.example/x%5Cy")
    assert found is not None
    assert found.user_agent == "a%20b"
    assert ("", "a b") in found.readings
    assert ("http://a.example/x\\y", "") in found.readings


def test_a_known_clean_spelling_does_not_hide_what_another_encoding_makes_of_it() -> None:
    log = SquidLog('%>a %ru "%#{User-Agent}>h"')
    clean = CleanLogParts(100)
    for keep, text in (
        (clean.keep_agent, "a%20b"),
        (clean.keep_client, "192.0.2.9"),
        (clean.keep_agent, "plain"),
    ):
        keep(text)
    clean.keep_host("GET", "http://a.example")
    clean.keep_server("")
    lines = [f'192.0.2.9 http://a.example/ "{agent}"' for agent in ("a%20b", "plain")]
    assert [n for n, _ in log.entries_to_look_up("\n".join(lines), clean)] == [0]


@pytest.mark.parametrize("referer", ["-", 'http://a.example/"x', 'a" "b'])
@pytest.mark.parametrize("agent", ["Agent/1", 'Agent "x"', 'Agent" "x', 'a" b:c'])
def test_combined_as_squid_writes_it_without_an_encoding(referer: str, agent: str) -> None:
    line = COMBINED.replace('"-" "Mozilla/5.0 (\\"x\\" y)"', f'"{referer}" "{agent}"')
    found = SquidLog("combined").entry(line)
    assert found is not None
    assert found.uri == "http://a.example/p"
    if referer == "-" or '" "' not in referer + agent:
        assert agent in (found.user_agent, *(other for _, other in found.readings))


def test_white_space_in_a_url_is_part_of_it() -> None:
    # As Squid writes it with uri_whitespace allow.
    found = SquidLog("squid").entry(NATIVE.replace("/p?x=1", "/a b  c"))
    assert found is not None
    assert found.uri == "http://a.example:8080/a b  c"
    assert found.server == "198.51.100.7"


def test_logformat_by_host_and_path() -> None:
    found = SquidLog("%ts %>a %>rd %rm").entry("1700000000 192.0.2.9 a.example GET")
    assert found is not None
    assert found.uri == "//a.example/"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("%ts %>a%ru", "nothing between"),
        ("%ts %Hs", "shows no"),
        ("%ts %zz %ru", "none of Squid's"),
        ("100 % %ru", "without a code"),
        ("%ru " * 2000, "longer"),
    ],
)
def test_logformats_that_cannot_be_read_say_why(text: str, says: str) -> None:
    with pytest.raises(FormatError, match=says):
        SquidLog(text)


def test_zeek_http() -> None:
    log = ZeekLog(HTTP[0])
    assert log.entry(HTTP[1]) == Entry(
        time="1700000000.5",
        client="192.0.2.9",
        method="GET",
        uri="http://a.example:8080/p?x",
        server="198.51.100.7",
        port="8080",
        user_agent="agent\tone",
    )


def test_zeek_dns_ssl_conn_files() -> None:
    dns = ZeekLog("#fields\tts\tid.orig_h\tid.resp_h\tquery\tanswers")
    found = dns.entry(
        "1.5\t192.0.2.9\t192.0.2.53\ta.example\tcname.example,198.51.100.7,2001:db8::7"
    )
    assert found is not None
    assert found.names == ("a.example", "cname.example")
    assert found.addresses == ("198.51.100.7", "2001:db8::7")
    ssl = ZeekLog("#fields\tts\tid.resp_h\tid.resp_p\tserver_name\tja3")
    found = ssl.entry("1.5\t198.51.100.7\t443\ta.example\t" + "ab" * 16)
    assert found is not None
    assert (found.names, found.port) == (("a.example",), "443")
    assert found.values == (("ja3-fingerprint-md5", "ab" * 16),)
    conn = ZeekLog("#fields\tts\tid.orig_h\tid.resp_h\tid.resp_p")
    found = conn.entry("1.5\t192.0.2.9\t198.51.100.7\t8443")
    assert found == Entry(time="1.5", client="192.0.2.9", server="198.51.100.7", port="8443")
    files = ZeekLog("#fields\tts\ttx_hosts\tfilename\tmd5\tsha256")
    found = files.entry("1.5\t198.51.100.7\tx.exe\t" + "ab" * 16 + "\t-")
    assert found is not None
    assert found.server == "198.51.100.7"
    assert set(found.values) == {
        ("filename", "x.exe"),
        ("md5", "ab" * 16),
        ("filename|md5", "x.exe|" + "ab" * 16),
        ("malware-sample", "x.exe|" + "ab" * 16),
    }


def test_zeek_columns_change_in_the_middle_of_a_file() -> None:
    log = ZeekLog("")
    assert log.entry("a\tb") is None
    assert log.entry("#fields\tquery\tts") == Entry()
    found = log.entry("a.example\t1.5")
    assert found is not None
    assert found.names == ("a.example",)
    assert last_header(b"x\n#fields\tq\ny", b"old") == b"#fields\tq"
    assert last_header(b"x\ny", b"old") == b"old"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            (
                '{"ts":1.5,"id.orig_h":"192.0.2.9","id.resp_h":"198.51.100.7","id.resp_p":80,'
                '"host":"a.example","uri":"/p","user_agent":"u"}'
            ),
            Entry("1.500000", "192.0.2.9", "", "http://a.example:80/p", "198.51.100.7", "80", "u"),
        ),
        (
            (
                '{"@timestamp":"2023-11-14T22:13:20Z","url":{"original":"http://a.example/p"},'
                '"source":{"ip":"192.0.2.9"},"destination":{"ip":"198.51.100.7","port":443},'
                '"user_agent":{"original":"u"}}'
            ),
            Entry(
                "2023-11-14T22:13:20Z",
                "192.0.2.9",
                "",
                "http://a.example/p",
                "198.51.100.7",
                "443",
                "u",
            ),
        ),
        (
            '{"ip-dst":"198.51.100.7","url":"http://a.example/p","domain":"b.example"}',
            Entry(uri="http://a.example/p", server="198.51.100.7", names=("b.example",)),
        ),
        (
            '{"ip-dst|port":"198.51.100.7|8443"}',
            Entry(values=(("ip-dst|port", "198.51.100.7|8443"),)),
        ),
    ],
)
def test_json(line: str, expected: Entry) -> None:
    assert JsonLog().entry(line) == expected


def test_logstash_event_that_holds_a_squid_line() -> None:
    inside = NATIVE.replace('"', '\\"')
    found = JsonLog().entry('{"@version":"1","message":"' + inside + '","host":"a.b.example"}')
    assert found == SquidLog("squid").entry(NATIVE)


PAIR = {"names": ("pair.example",), "addresses": ("203.0.113.5",)}
WITH_CNAME = {**PAIR, "names": ("pair.example", "cname.example")}


@pytest.mark.parametrize(
    ("dns", "expected"),
    [
        # Elastic Common Schema.
        (
            {
                "question": {"name": "pair.example", "type": "A"},
                "answers": [
                    {"type": "CNAME", "name": "pair.example", "data": "cname.example"},
                    {"type": "A", "name": "cname.example", "data": "203.0.113.5", "ttl": 60},
                    {"type": "TXT", "data": "two words.example"},
                ],
            },
            WITH_CNAME,
        ),
        # Suricata: answers, answers by type, and its queries since version 8.
        ({"rrname": "pair.example", "answers": [{"rrtype": "A", "rdata": "203.0.113.5"}]}, PAIR),
        (
            {
                "rrname": "pair.example",
                "grouped": {"A": ["203.0.113.5"], "CNAME": ["cname.example"]},
            },
            WITH_CNAME,
        ),
        (
            {"queries": [{"rrname": "pair.example"}], "grouped": {"AAAA": ["2001:db8::5"]}},
            {**PAIR, "addresses": ("2001:db8::5",)},
        ),
        (
            {"queries": [{"rrname": "pair.example"}, {"rrname": "b.example"}]},
            {"names": ("pair.example", "b.example")},
        ),
        ({"answers": [{"rrname": "pair.example", "rdata": "203.0.113.5"}]}, PAIR),
    ],
)
def test_names_and_addresses_of_dns_answers(
    dns: dict[str, object], expected: dict[str, tuple[str, ...]]
) -> None:
    assert JsonLog().entry(json.dumps({"dns": dns})) == Entry()._replace(**expected)


def test_lists_of_objects_are_bounded() -> None:
    answers = [{"data": f"198.51.100.{n}", f"k{n}": 1} for n in range(250)]
    found = JsonLog().entry(json.dumps({"dns": {"answers": answers}}))
    assert found is not None
    assert found.addresses == tuple(f"198.51.100.{n}" for n in range(64))
    record = {"a": [[{"url": "x"}]], "b": [{"c": [{"d": ["x"] * 90}]}] * 3}
    assert {name: len(texts) for name, texts in _flat(record).items()} == {"b.c.d": 64}
    assert len(_flat({f"k{n}": "x" for n in range(1000)})) == 256
    # A long list does not use up what all lists together may have; many lists do.
    assert _flat({"a": [1] * 5000, "b": "x"})["b"] == ["x"]
    fields = _flat({"b": [{"c": [{"d": [1] * 90}] * 90}] * 90} | {"e": {"f": {"g": {"h": 1}}}})
    assert "e.f.g.h" not in fields
    assert "e.f.g.h" in _flat({"b": [{"c": [1]}] * 90, "e": {"f": {"g": {"h": 1}}}})


SYSLOG = f"<134>Nov 14 22:13:20 proxy (squid-1): {NATIVE}"


@pytest.mark.parametrize("name", ["message", "event.original", "line", "event"])
@pytest.mark.parametrize("inside", [NATIVE, '{"url": "http://inner.example/"}'])
def test_a_line_inside_does_not_hide_the_fields_beside_it(name: str, inside: str) -> None:
    record = {
        name: inside,
        "host": "sender.example",
        "url": {"full": "http://outer.example/"},
        "dns": {"answers": [{"data": "203.0.113.5"}]},
    }
    if "." in name:
        record["event"] = {"original": record.pop(name)}
    found = JsonLog().entry(json.dumps(record))
    assert found is not None
    assert found.uri == (
        "http://a.example:8080/p?x=1" if inside is NATIVE else "http://inner.example/"
    )
    other = Entry(uri="http://outer.example/", addresses=("203.0.113.5",))
    assert found.others == (other,)
    assert found.parts == (found, other)


def test_lines_inside_are_read_once_and_not_without_end() -> None:
    twice = {"message": NATIVE, "event": {"original": NATIVE}}
    assert JsonLog().entry(json.dumps(twice)) == SquidLog("squid").entry(NATIVE)
    inner = json.dumps({"message": json.dumps({"url": "http://a.example/"})})
    assert JsonLog().entry(json.dumps({"message": inner})) == Entry()


def test_a_request_inside_that_cannot_be_read_is_counted() -> None:
    log = JsonLog()
    assert log.entry(json.dumps({"message": SYSLOG, "@timestamp": "2023-11-14"})) is None
    assert log.entry(json.dumps({"message": SYSLOG.replace("http://", "/")})) is None
    assert log.entry(json.dumps({"message": "Squid is ready: OK"})) == Entry()
    assert log.entry(json.dumps({"message": SYSLOG, "url": "http://b.example/"})) == Entry(
        uri="http://b.example/"
    )


@pytest.mark.parametrize(
    ("lines", "name"),
    [
        (["", NATIVE], "squid"),
        ([COMBINED], "combined"),
        (['{"a": 1}'], "json"),
        (["#separator \\x09"], "zeek"),
        ([HTTP[0]], "zeek"),
        (["nothing of this", "kind"], None),
        ([], None),
    ],
)
def test_format_by_first_lines(lines: list[str], name: str | None) -> None:
    assert guess(lines) == name


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1700000000.123", 1_700_000_000.123),
        ("1700000000123", 1_700_000_000.123),
        ("14/Nov/2023:22:13:20 +0000", 1_700_000_000.0),
        ("[14/Nov/2023:23:13:20 +0100]", 1_700_000_000.0),
        ("2023-11-14T22:13:20Z", 1_700_000_000.0),
        ("2023-11-14T22:13:20.000000+0000", 1_700_000_000.0),
        ("yesterday", None),
        ("", None),
        ("9" * 70, None),
        ("0001-01-01T00:00:00+23:59", None),
    ],
)
def test_times(text: str, seconds: float | None) -> None:
    assert parse_time(text) == seconds


LOGS = (
    SquidLog("squid"),
    SquidLog("common"),
    SquidLog("combined"),
    SquidLog('%>a "%{User-Agent}>h" %ru'),
    JsonLog(),
    ZeekLog(HTTP[0]),
)
ANYTHING = st.one_of(
    st.text(max_size=300),
    st.binary(max_size=300).map(lambda data: data.decode("utf-8", "surrogateescape")),
    st.lists(
        st.sampled_from([NATIVE, COMBINED, *HTTP, '{"url":', "\x00", " ", '"', "\\", "%"])
    ).map("".join),
)


@given(ANYTHING)
def test_readers_never_raise(text: str) -> None:
    for log in LOGS:
        log.entry(text)
        seen = list(log.entries_to_look_up(text, CleanLogParts(100)))
        assert len(seen) <= text.count("\n") + 1
    parse_time(text)


@given(
    st.dictionaries(
        st.sampled_from(["url", "ts", "answers", "host", "md5", "x"]),
        st.recursive(
            st.one_of(
                st.none(),
                st.booleans(),
                st.integers(),
                st.floats(allow_nan=False, allow_infinity=False),
                st.text(max_size=20),
            ),
            lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner),
        ),
    )
)
@pytest.mark.slow
def test_any_json_is_read(record: dict[str, object]) -> None:
    found = JsonLog().entry(json.dumps(record))
    assert found is not None
    assert all(isinstance(text, str) for text in (found.uri, found.time, *found.names))


@given(st.text(st.characters(blacklist_characters="\n", codec="utf-8")), st.text(max_size=30))
def test_block_and_single_lines_agree(text: str, more: str) -> None:
    block = "\n".join((NATIVE, text, COMBINED, more.replace("\n", "")))
    for log in LOGS[:4]:
        one_by_one = [log.entry(line) for line in block.split("\n")]
        together = dict(log.entries_to_look_up(block, CleanLogParts(100)))
        assert [together.get(n) for n in range(4)] == one_by_one


@pytest.mark.parametrize(
    "name", ["squid", "combined", '%>a "%{User-Agent}>h" %ru', "%/{User-Agent}>h %>ru %<h %un"]
)
@pytest.mark.parametrize(
    "piece",
    ["a", "/", " ", '"', "\\", "http://a/", "a b ", '\\"', '" "', "%20", "%22%5C", " HTTP/"],
)
def test_hostile_lines_cost_time_in_proportion(name: str, piece: str) -> None:
    log = open_reader(name)
    line = "1700000000.1 1 192.0.2.9 A/1 1 GET " + piece * (200_000 // len(piece))
    started = time.process_time()
    log.entry(line)
    list(log.entries_to_look_up(line, CleanLogParts(100)))
    assert time.process_time() - started < 0.5


def test_json_that_nests_deeply_or_has_many_fields() -> None:
    log = JsonLog()
    assert log.entry('{"a":' * 100_000) is None
    assert log.entry("{" + ",".join(f'"k{n}":"v"' for n in range(20_000)) + "}") == Entry()
    deep = log.entry('{"a":{"b":{"c":{"d":{"url":"http://a.example/"}}}}}')
    assert deep == Entry()


def agents_of(entry: Entry) -> tuple[str, ...]:
    return (entry.user_agent, *(agent for _, agent in entry.readings if agent))


def uris_of(entry: Entry) -> tuple[str, ...]:
    return (entry.uri, *(uri for uri, _ in entry.readings if uri))


@pytest.mark.parametrize(
    "more", [" 12", " 12 text/html", ' 1 "a b" "c:d"', " TCP_HIT:HIER_NONE", ' "x"']
)
@pytest.mark.parametrize(
    ("agent", "status"),
    [
        *(("Agent/1", status) for status in ("", " TCP_MISS:HIER_DIRECT")),
        *(("a:b", status) for status in ("", " TCP_MISS:HIER_DIRECT")),
        # A web server writes no quote as it is.
        ('Agent "x"', " TCP_MISS:HIER_DIRECT"),
    ],
)
def test_further_fields_behind_a_format_of_squids_own(agent: str, more: str, status: str) -> None:
    line = COMBINED.replace('Mozilla/5.0 (\\"x\\" y)', agent)
    line = line.removesuffix(" TCP_MISS:HIER_DIRECT") + status + more
    found = SquidLog("combined").entry(line)
    assert found is not None
    assert (found.client, found.uri) == ("192.0.2.9", "http://a.example/p")
    assert agent in agents_of(found)
    if '"' not in agent:
        assert found.user_agent == agent
    common = line.replace(f' "-" "{agent}"', "")
    found = SquidLog("common").entry(common)
    assert found is not None
    assert (found.client, found.uri) == ("192.0.2.9", "http://a.example/p")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("%-15>a %ru %<a", "192.0.2.9       http://a.example/p 198.51.100.7"),
        ("%-40ru %>a %-15<a", f"{'http://a.example/p':40} 192.0.2.9 198.51.100.7   "),
        ("%-15>a|%-40ru|%<a", f"192.0.2.9      |{'http://a.example/p':40}|198.51.100.7"),
        ('"%-20{User-Agent}>h" %>a %ru %<a', f'"{"Agent/1":20}" 192.0.2.9 URL 198.51.100.7'),
        ('%15>a %-15<a "%\'{User-Agent}>h" %ru', f'{"192.0.2.9":>15} SERVER{" " * 3} "a"b" URL'),
        ('%ru "%\'{User-Agent}>h" %-15>a %-15<a', f'URL "a"b" 192.0.2.9{" " * 6} SERVER{" " * 3}'),
    ],
)
def test_values_with_a_width_have_spaces_on_either_side(text: str, line: str) -> None:
    line = line.replace("URL", "http://a.example/p").replace("SERVER", "198.51.100.7")
    found = SquidLog(text).entry(line)
    assert found is not None
    shown = (found.client, found.uri, found.server)
    assert shown == ("192.0.2.9", "http://a.example/p", "198.51.100.7")
    assert found.user_agent in ("", "Agent/1", 'a"b')


@pytest.mark.parametrize("text", ["%ru %>a", "%>ru %>a", '"%>ru" %>a', "%#ru %>a"])
@pytest.mark.parametrize("path", ["a%23b", "a%20", "a%2523b", "%20%23"])
def test_what_a_client_escaped_in_a_url_stays_so(text: str, path: str) -> None:
    logged = path.replace("%", "%25") if "#" in text else path
    found = SquidLog(text).entry(SAMPLE_OF[text].format(logged))
    assert found is not None
    first, *more = uris_of(found)
    assert first == f"http://a.example/{path}"
    # Where Squid may have escaped it, `%23` may be a `#`, too.
    assert more == ([first.partition("%23")[0]] if text == "%>ru %>a" and "%23" in path else [])


SAMPLE_OF = {
    "%ru %>a": "http://a.example/{} 192.0.2.9",
    "%>ru %>a": "http://a.example/{} 192.0.2.9",
    '"%>ru" %>a': '"http://a.example/{}" 192.0.2.9',
    "%#ru %>a": "http://a.example/{} 192.0.2.9",
}


def test_what_squid_escaped_in_a_url_is_undone() -> None:
    found = SquidLog("%>ru %>a").entry("http://%5B2001:db8::1%5D/x%7By 192.0.2.9")
    assert found is not None
    assert "http://[2001:db8::1]/x{y" in uris_of(found)
    # `%ru` has escapes of Squid's own only where there was a control character.
    for path, others in (("a%5Cb", ()), ("%E6%97%A5%5Cb%20", ("日\\b%20", "日%5Cb%20"))):
        found = SquidLog("%ru %>a").entry(f"http://a.example/{path} 192.0.2.9")
        assert found is not None
        assert uris_of(found) == tuple(f"http://a.example/{one}" for one in (path, *others))


def test_a_host_that_is_escaped_is_looked_up_though_its_spelling_is_clean() -> None:
    log = SquidLog("%ts %>a %ru %<a")
    assert log._cells is not None
    clean = CleanLogParts(100)
    for server in ("", "198.51.100.7"):
        clean.keep_server(server)
    clean.keep_client("192.0.2.9")
    clean.keep_host("GET", "http://a%2eexample")
    line = "1700000000 192.0.2.9 http://a%2eexample/ 198.51.100.7"
    assert [n for n, _ in log.entries_to_look_up(line, clean)] == [0]


CLIENT = "10.1.1.1 - - [26/Nov/2026:18:28:06 +0000]"
BEHIND = '"" A:B x" "Plain Evil/2.0" TCP_MISS:HIER_NONE "h A:B x"'
HIDING = {
    "a fragment in a URL that is escaped": (
        "squid",
        "1767225600.000 5 10.1.1.1 TCP_MISS/200 9 GET http://www.listed.example/x%23%80x - A/- -",
        "http://www.listed.example/x",
    ),
    "a fragment in a URL of %>ru": (
        "%ts %>a %rm %>ru %<a",
        "1767225600 10.1.1.1 GET http://www.listed.example/x%23x 192.0.2.1",
        "http://www.listed.example/x",
    ),
    "what looks like a status, twice": (
        "combined",
        f'{CLIENT} "GET http://www.listed.example/x HTTP/1.1" 2 3 {BEHIND}',
        "http://www.listed.example/x",
    ),
    "an address that is escaped": (
        "%ts %>a %rm %>rd %<a",
        "1767225600 10.1.1.1 GET %5B2001:db8::7%5D -",
        "//[2001:db8::7]/",
    ),
}


@pytest.mark.parametrize(("name", "line", "url"), HIDING.values(), ids=HIDING)
def test_attack_what_a_client_sends_hides_no_url(name: str, line: str, url: str) -> None:
    entry = SquidLog(name).entry(line)
    assert entry is not None
    assert url in {entry.uri, *(uri for uri, _ in entry.readings)}


def test_escapes_of_zeek_are_bytes() -> None:
    ids = "1.5\tC1\t192.0.2.9\t40000\t198.51.100.7\t80"
    entry = ZeekLog(HTTP[0]).entry(f"{ids}\tGET\tb\\xc3\\xbccher.example\t/\tEv\\xc3\\xadl")
    assert entry is not None
    assert entry.uri == "http://bücher.example:80/"
    assert entry.user_agent == "Evíl"
