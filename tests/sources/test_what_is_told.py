"""What a refresh tells of its sources: where to look, and nothing of what they list."""

from __future__ import annotations

import json

import pytest

from support.installation import Installation, attribute

ODD_NAME = "n\u009b31m\u202e.xyz"


def test_value_in_the_column_of_uuids_is_told_nowhere(installation: Installation) -> None:
    """It stood on standard error and in last-refresh.tsv."""
    rows = "secret.example,sha256,zz\n\x1b[2Jx,domain,!!\n"
    (installation.events / "misp.csv").write_text(f"uuid,type,value\n{rows}")
    installation.add("event", attribute("sha256", "zz", uuid="secret.example"))
    installation.add("good", attribute("domain", "a.example"))
    summary = installation.refresh()
    places = {case.place for cases in summary.report.examples.values() for case in cases}
    assert places == {str(installation.events / name) for name in ("misp.csv", "event.json")}
    assert "secret" not in summary.report.path.read_text()


@pytest.mark.slow
def test_names_of_files_in_json_are_safe_for_a_terminal(installation: Installation) -> None:
    installation.add("good", attribute("domain", "a.example"))
    (installation.events / ODD_NAME).write_text("x\n")
    (installation.events / "bad\u009b.json").write_text("{")
    done = installation.run("inkgate-rules", "refresh", "--json")
    assert done.stdout.rstrip("\n").isprintable()
    found = json.loads(done.stdout)
    assert ODD_NAME in found["not_sources"][0]
    assert "bad\u009b.json" in found["not_read"][0]


def test_files_of_one_name_are_told_apart(installation: Installation) -> None:
    """A list that was refused as a whole stood beside a good one of the same name: status 0."""
    bad, good = installation.events / "a" / "domains", installation.events / "b" / "domains"
    for path in (bad, good):
        path.parent.mkdir()
    bad.write_text("192.0.2.*\n192.0.3.*\n192.0.4.*\n")
    good.write_text("".join(f"good{n}.example\n" for n in range(100)))
    summary = installation.refresh()
    (fault,) = summary.unreadable
    assert fault.path == bad
    (cases,) = summary.report.examples.values()
    assert [case.place for case in cases] == [f"{bad}:{n}" for n in (1, 2, 3)]
