"""Settings that speak of types which MISP does not have."""

from __future__ import annotations

import pytest

from support.installation import Installation, attribute

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('select = { types = ["domain", "ulr"] }', "[rules.select] types: MISP has no type 'ulr'"),
        ('select = { not_types = ["sha265"] }', "did you mean 'sha256'?"),
        ('select = { types = ["ip-dest*"] }', "MISP has no type 'ip-dest*'"),
        ("max_age_days = { domian = 3 }", "[rules] max_age_days: MISP has no type 'domian'"),
        ('actions = { "type:domian" = "log" }', "[rules] actions: MISP has no type 'domian'"),
        ('more_types = ["new"]\nselect = { types = ["newer"] }', "MISP has no type 'newer'"),
        (
            'subscribers.other = { token_file = "t", select = { types = ["ulr"] } }',
            "[rules.subscribers.other.select] types: MISP has no type 'ulr'",
        ),
    ],
)
def test_type_that_nobody_has_changes_nothing(
    installation: Installation, lines: str, said: str
) -> None:
    installation.add("listed", attribute("url", "http://files.example/bad"))
    installation.refresh()
    installation.configure(lines)
    done = installation.run("inkgate-rules", "refresh", "-q")
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert installation.run("inkgate-rules", "match", "url=http://files.example/bad").stdout


@pytest.mark.parametrize(
    "lines",
    [
        'select = { types = ["url", "ip-*", "sha[0-9]*"] }',
        'more_types = ["new"]\nselect = { types = ["new", "url"] }\nmax_age_days = { "*" = 36500 }',
        'actions = { "type:url" = "block", "tag:whatever" = "log" }',
    ],
)
def test_types_of_misp_and_patterns_that_fit_some_are_taken(
    installation: Installation, lines: str
) -> None:
    installation.add("listed", attribute("url", "http://files.example/bad"))
    installation.configure(lines)
    done = installation.run("inkgate-rules", "refresh", "-q")
    assert (done.returncode, done.stderr) == (0, "")
