"""squid.conf as Squid reads it, where inkgate's include has to stand, and which ports there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from inkgate.icap_server.settings import Fail
from inkgate.squid_conf.configuration import read_configuration
from inkgate.squid_conf.icap_order import icap_findings
from inkgate.squid_conf.order import order_findings
from inkgate.squid_conf.placing.include_line import first_access, with_include, without_include
from inkgate.squid_conf.ports import ports_of
from inkgate.squid_conf.word import SquidConfError

SERVICE = "icap://127.0.0.1:1344"
OURS = """\
external_acl_type inkgate %URI /usr/local/lib/inkgate/inkgate-launch /opt/inkgate/bin/helper c
acl inkgate_listed external inkgate
http_access deny inkgate_listed
http_reply_access deny inkgate_listed
"""
ICAP = f"""\
icap_enable on
icap_connect_timeout 1 seconds
icap_io_timeout 2 seconds
icap_service_failure_limit -1
icap_service inkgate_reqmod reqmod_precache {SERVICE}/reqmod bypass=on on-overload=wait
icap_service inkgate_respmod respmod_precache {SERVICE}/respmod bypass=on on-overload=wait
adaptation_access inkgate_reqmod allow all
adaptation_access inkgate_respmod allow all
"""


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return tmp_path / "squid.conf"


def faults(conf: Path, text: str, front_ends: str = "helper", fail: Fail = "open") -> list[str]:
    conf.write_text(text)
    found = order_findings(
        read_configuration(conf),
        front_ends,  # type: ignore[arg-type]
        replies=True,
        service=SERVICE,
        fail=fail,
    )
    return [finding.fault for finding in found]


def test_lines_come_in_squids_order_with_their_places(conf: Path) -> None:
    folder = conf.parent / "conf.d"
    folder.mkdir()
    (folder / "b.conf").write_text("second\n")
    (folder / "a.conf").write_text("first one \\\n# a comment does not end it\n\n  two # no more\n")
    conf.write_text(f'#zero\n\ninclude {folder}/*.conf\n  last "a b" c#d # e\n')
    lines = read_configuration(conf)
    assert [(line.file.name, line.number, line.name, line.words) for line in lines] == [
        ("a.conf", 1, "first", ("one", "two")),
        ("b.conf", 1, "second", ()),
        ("squid.conf", 4, "last", ("a b", "c#d")),
    ]
    assert [line.anchor(conf) for line in lines] == [3, 3, 4]


def test_include_of_nothing_is_said_with_its_place(conf: Path) -> None:
    conf.write_text("\ninclude /nowhere/*.conf\n")
    with pytest.raises(SquidConfError, match=r"squid.conf:2: includes /nowhere/\*\.conf"):
        read_configuration(conf)


def test_endless_includes_end(conf: Path) -> None:
    conf.write_text(f"include {conf}\n")
    with pytest.raises(SquidConfError, match="16 deep"):
        read_configuration(conf)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("http_access deny a\nhttp_access allow b\nhttp_access deny all\n", 2),
        ("http_access deny a\nif ${process_number} = 1\nhttp_access allow b\nendif\n", 2),
        ("http_reply_access allow a\nhttp_access allow b\n", 1),
        ("adaptation_access virus allow all\nhttp_access allow b\n", 1),
        # Ours as the last line would turn Squid's default from `allow` to `deny`.
        ("http_access deny a\nhttp_access deny b\nhttp_reply_access allow all\n", 1),
        ("http_access allow a \\\n  b\n", 1),
    ],
)
def test_include_stands_before_what_could_allow(conf: Path, text: str, number: int) -> None:
    conf.write_text(text)
    lines = read_configuration(conf)
    assert first_access(lines, conf) == number
    fragment = conf.parent / "inkgate.conf"
    made = with_include(text.encode(), lines, conf, fragment)
    assert made.split(b"\n")[number] == f"include {fragment}".encode()
    assert without_include(made, fragment) == text.encode()


def test_no_http_access_at_all_is_refused(conf: Path) -> None:
    conf.write_text("http_port 3128\n")
    with pytest.raises(SquidConfError, match="let everybody in"):
        first_access(read_configuration(conf), conf)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (OURS, []),
        ("http_access deny x\nhttp_access allow localhost manager\n" + OURS, []),
        ("http_access allow manager\n" + OURS, ["`http_access allow manager` comes before"]),
        ("http_reply_access allow all\n" + OURS, ["`http_reply_access allow all` comes before"]),
        (
            OURS.replace("deny inkgate_listed", "deny inkgate_listed office"),
            ["more conditions"] * 2,
        ),
        ("if ${process_number} = 1\n" + OURS + "endif\n", ["depends on `if`"] * 2),
        (
            OURS.replace("http_reply_access deny inkgate_listed\n", ""),
            ["no http_reply_access line"],
        ),
        (
            OURS.replace("deny inkgate_listed", "deny !inkgate_listed"),
            ["no line of squid.conf asks"],
        ),
        (ICAP, ["over ICAP only"]),
    ],
)
def test_helpers_lines(conf: Path, text: str, said: list[str]) -> None:
    found = faults(conf, text)
    assert len(found) == len(said), found
    assert all(part in fault for part, fault in zip(said, found, strict=True)), found


CHAIN = """\
icap_service virus reqmod_precache icap://127.0.0.1:1/virus
adaptation_service_chain both virus inkgate_reqmod
adaptation_access both allow all
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ICAP, []),
        (ICAP.replace("adaptation_access inkgate_reqmod allow all\n", CHAIN), []),
        (ICAP.replace("enable on", "enable off"), ["switched off"]),
        (ICAP + "icap_enable off\n", ["switched off"]),
        (ICAP + "icap_service_failure_limit 10 in 30 seconds\n", ["icap_service_failure_limit"]),
        (ICAP.replace("icap_service_failure_limit -1\n", ""), ["icap_service_failure_limit"]),
        (ICAP + "icap_io_timeout 15 minutes\n", ["icap_io_timeout"]),
        (ICAP.replace("icap_connect_timeout 1 seconds\n", ""), ["icap_connect_timeout"]),
        (ICAP.replace(" on-overload=wait", ""), ["pass unseen", "pass unseen"]),
        (ICAP.replace("=wait", "=bypass"), ["pass unseen", "pass unseen"]),
        (ICAP.replace("bypass=on on-overload=wait", "bypass=off"), ["bypass=off", "bypass=off"]),
        (ICAP.replace("bypass=on on-overload=wait", ""), ["bypass=off", "bypass=off"]),
        (ICAP.replace("inkgate_respmod allow all", "inkgate_respmod deny office"),
         ["`adaptation_access inkgate_respmod deny office` keeps responses",
          "no adaptation_access line sends all responses"]),
        (ICAP.replace("reqmod allow all", "reqmod allow office"),
         ["`adaptation_access inkgate_reqmod allow office` keeps requests",
          "no adaptation_access line sends all requests"]),
        (ICAP.replace("adaptation_access inkgate_respmod allow all\n", ""),
         ["no adaptation_access line sends all responses"]),
        ("icap_service virus reqmod_precache icap://127.0.0.1:1/virus\n"
         "adaptation_access virus allow all\n" + ICAP,
         ["`adaptation_access virus allow all` comes before"]),
        ("icap_service virus reqmod_precache icap://127.0.0.1:1/virus\n"
         "adaptation_access virus deny all\n" + ICAP, []),
        (OURS, ["asks the helper only"]),
        ("", ["no icap_service line"]),
    ],
)  # fmt: skip
def test_icap_lines(conf: Path, text: str, said: list[str]) -> None:
    found = faults(conf, text, "icap")
    assert len(found) == len(said), found
    assert all(part in fault for part, fault in zip(said, found, strict=True)), found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("bypass=on on-overload=wait", ['although [icap] fail = "closed"'] * 2),
        ("bypass=1 on-overload=wait", ["has bypass=on: messages pass"] * 2),
        ("bypass=off bypass=on on-overload=wait", ["has bypass=on"] * 2),
        ("bypass=off", []),
        ("", []),
    ],
)
def test_icap_lines_of_another_fail_than_the_settings(
    conf: Path, words: str, said: list[str]
) -> None:
    found = faults(conf, ICAP.replace("bypass=on on-overload=wait", words), "icap", "closed")
    assert len(found) == len(said), found
    assert all(part in fault for part, fault in zip(said, found, strict=True)), found


def test_service_of_another_address_is_not_inkgates(conf: Path) -> None:
    conf.write_text(ICAP)
    (finding,) = icap_findings(read_configuration(conf), "icap://192.0.2.1:1344", None, "open")
    assert "names icap://192.0.2.1:1344" in finding.fault


def test_ports(conf: Path) -> None:
    conf.write_text(
        "http_port 3128\nhttp_port 192.0.2.1:8080 name=a\nhttp_port [::]:3129 ssl-bump\n"
        "http_port 3130 intercept\nhttps_port 3131 tproxy\nhttp_port 80 accel vhost\n"
        "https_port 443\nhttp_port proxy.example:3132\n"
    )
    found = [
        (p.host, p.number, p.is_any, bool(p.untried)) for p in ports_of(read_configuration(conf))
    ]
    assert found == [
        ("127.0.0.1", 3128, True, False),
        ("192.0.2.1", 8080, False, False),
        ("::1", 3129, True, False),
        ("127.0.0.1", 3130, True, True),
        ("127.0.0.1", 3131, True, True),
        ("127.0.0.1", 80, True, True),
        ("127.0.0.1", 443, True, True),
        ("proxy.example", 3132, False, False),
    ]
