"""An installation that reads from a simulated MISP, and what is in its rules."""

from __future__ import annotations

from collections.abc import Iterable

from inkgate.rules.canonical import canonical_attribute
from inkgate.rules.crypto.canaries import canaries
from inkgate.rules.crypto.keys import read_token
from inkgate.rules.install.install import open_current
from inkgate.rules.lookup.matcher import Matcher
from inkgate.rules.refresh.refresh import Summary
from inkgate.rules.select.canary_records import canary_records
from support.installation import Installation
from support.misp import Misp, MispServer

SOURCE = """
[[rules.sources]]
type = "misp-web"
url = "{url}"
key_file = "misp.key"
timeout = {timeout}
first_wait = 0.01
page_size = {page_size}
{more}
"""


def link(
    installation: Installation,
    server: MispServer,
    more: str = "",
    *,
    timeout: float = 10,
    page_size: int = 7,
) -> None:
    """Let an installation read from this MISP only."""
    text = installation.config.read_text().replace('sources = ["events"]\n', "")
    text = text.split("\n[[rules.sources]]")[0]
    source = SOURCE.format(url=server.url, more=more, timeout=timeout, page_size=page_size)
    installation.config.write_text(text + source)
    (installation.config.parent / "misp.key").write_text(server.key + "\n")


def sealed(installation: Installation, values: Iterable[tuple[str, str]]) -> set[str]:
    """UUIDs in the rules that open with the values; all but canaries must be among them."""
    where = installation.places
    generation = open_current(where.installed, installation.settings.caps)
    try:
        token = read_token(where.token_file)
        matcher = Matcher(generation, token)
        found: set[str] = set()
        opened = 0
        for name, text in set(values):
            value = canonical_attribute(name, text)
            if hit := matcher.look_up(name, value.kind, value.data):
                opened += 1
                found.update(attribute["uuid"] for attribute in hit.message.attributes)
        beside = len(canary_records(canaries(token), generation.manifest.classes))
        assert opened == generation.manifest.rule_count() - beside
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
