"""Log matching leaves the check's own requests out, and says so; who asks for one sees it."""

from __future__ import annotations

import json

import pytest

from support.canary_proxy import canaries_of, records
from support.installation import Installation, attribute
from support.logs import access_line

pytestmark = pytest.mark.slow


@pytest.fixture
def listed(installation: Installation) -> Installation:
    installation.add("listed", attribute("domain", "listed.example"), attribute("md5", "ab" * 16))
    installation.refresh()
    return installation


def test_lines_of_the_check_are_left_out_and_counted(listed: Installation) -> None:
    own = canaries_of(listed)
    log = listed.folder / "access.log"
    checks = [
        access_line(f"http://{own.name}/"),
        access_line(f"{own.name}:443", method="CONNECT"),
        access_line(own.url),
        access_line(f"http://localhost:{own.reply_port}/", server="127.0.0.1"),
        access_line(own.neighbour_url),
    ]
    log.write_text("\n".join(checks) + "\n")
    options = ("match", "--json", "--sightings", "--jobs", "1", str(log))
    done = listed.run("inkgate-rules", *options)
    assert (done.returncode, done.stdout) == (1, "")
    assert "4 lines are of the check through the proxy" in done.stderr
    assert "0 matches in 0 lines" in done.stderr
    log.write_text("\n".join([*checks, access_line("http://listed.example/")]) + "\n")
    done = listed.run("inkgate-rules", *options)
    assert done.returncode == 0
    assert json.loads(done.stdout)["line"] == 6
    assert [r["action"] for r in records(listed, "--canaries")] == ["block"]


def test_line_of_a_canary_that_goes_to_a_listed_server_counts(installation: Installation) -> None:
    installation.add("listed", attribute("ip-dst", "192.0.2.80"))
    installation.refresh()
    log = installation.folder / "access.log"
    log.write_text(access_line(canaries_of(installation).url, server="192.0.2.80") + "\n")
    done = installation.run("inkgate-rules", "match", "--json", "--sightings", str(log))
    assert (done.returncode, json.loads(done.stdout)["class"]) == (0, "ip-dst"), done.stderr
    assert "of the check through the proxy" not in done.stderr
    assert [r["class"] for r in records(installation, "--canaries")] == ["ip-dst"]


def test_a_query_for_a_canary_is_answered_as_such(listed: Installation) -> None:
    own = canaries_of(listed)
    for query in (f"domain={own.name}", f"url={own.url}", f"md5={own.digest('md5')}"):
        done = listed.run("inkgate-rules", "match", query)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split("\t")[2:] == ["canary", "comment=canary\n"]
    for query in (f"domain={own.neighbour}", f"url={own.neighbour_url}"):
        assert listed.run("inkgate-rules", "match", query).returncode == 1


def test_audit_does_not_call_a_canary_recovered(listed: Installation) -> None:
    words = listed.folder / "words.txt"
    words.write_text(f"{canaries_of(listed).name}\nlisted.example\n")
    done = listed.run("inkgate-rules", "audit", "--json", "--wordlist", str(words), "--show")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["attack"]["values"] == [["domain", "listed.example"]]
