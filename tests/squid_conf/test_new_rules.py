"""When a trial says that new rules work: not before Squid has forgotten every older answer."""

from __future__ import annotations

from pathlib import Path

from inkgate.squid_conf.new_rules import NewRules
from support.installation import Installation, attribute

_NEGATIVE_TTL = 2


def test_line_comes_when_squid_has_counted_a_second_more_than_the_ttl(tmp_path: Path) -> None:
    """Squid 5.7 and 6.13 repeat an answer of ttl=2 for up to 3 s: they count whole seconds."""
    said: list[str] = []
    now = [100.0]
    installation = Installation()
    try:
        installation.add("listed", attribute("domain", "listed.example"))
        new_rules = NewRules(
            installation.places.installed,
            tmp_path / "none",
            installation.settings,
            _NEGATIVE_TTL,
            said.append,
            lambda: now[0],
        )
        installation.refresh()
        for seconds in (0.0, 2.0, 2.9):
            now[0] = 100 + seconds
            new_rules.look()
            assert not said
        now[0] = 103
        new_rules.look()
    finally:
        installation.close()
    assert len(said) == 1
