"""An operator's template: used by Squid and ICAP alike, or refused with its line and a remedy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from inkgate.blocked_page.page import PAGES, load_pages
from inkgate.blocked_page.settings import SquidSettings
from inkgate.blocked_page.template import MAX_TEMPLATE_BYTES, own_source
from inkgate.config.errors import Unreadable
from inkgate.icap_server.sections import load_sections
from support.installation import Installation

SOUND = (
    "<!DOCTYPE html>\n"
    "<style>main { width: 50%; }</style>\n"
    '<a href="https://desk.example/%C3%A9">{{ contact }}</a>\n'
    "<p>{{ organisation }} {% if kind == 'unavailable' %}later{% else %}never{% endif %}\n"
    "<p>{{ incident }} {{ address }} {{ time }}\n"
)


def pages_of(folder: Path, text: str | bytes) -> object:
    path = folder / "own.html"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_pages(folder / "inkgate.toml", SquidSettings(template="own.html"))


def test_own_template_makes_all_pages(tmp_path: Path) -> None:
    pages = load_pages_of(tmp_path)
    assert "later" in pages["unavailable"]
    assert "never" in pages["request"]
    for text in pages.values():
        assert "width: 50%%;" in text
        assert "/%%C3%%A9" in text
    assert "%o %U @Squid{" in pages["reply"]


def load_pages_of(folder: Path) -> dict[str, str]:
    (folder / "own.html").write_text(SOUND)
    made = load_pages(folder / "inkgate.toml", SquidSettings(template="own.html"))
    full = made.full("request", incident="IG-1", address="http://a/<b>", time="now")
    assert "width: 50%;" in full
    assert "<p>IG-1 http://a/&lt;b&gt; now" in full
    return {kind: made.for_squid(kind) for kind in PAGES}


def test_inkgates_own_template_would_be_taken(tmp_path: Path) -> None:
    pages_of(tmp_path, own_source())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SOUND.replace("{{ time }}", "{{ tiem }}"), r":5: 'tiem' is no name of the page; use add"),
        (SOUND.replace("{{ incident }}", ""), r"own.html: the incident is missing; write"),
        (SOUND.replace("{{ time }}", "%T"), r":5: '%T' is a code of Squid's own; .*\{\{ time"),
        (SOUND.replace("{{ time }}", "@Squid{%ea}"), r":5: '@Squid\{' is a code of Squid's own"),
        (SOUND.replace("50%", "50%%"), r":2: '%%' is a code of Squid's own; write one percent"),
        (SOUND.replace("{{ time }}", "{{ time"), r":6: |:5: "),
        (SOUND.replace("{% endif %}", ""), r":\d: .*endif"),
        (SOUND.replace("{{ time }}", "{{ time.hour }}"), r":5: .*no attribute 'hour'"),
        (SOUND.replace("{{ time }}", '{% include "x" %}'), r":5: "),
        (SOUND.replace("{{ address }}", "{{ address|safe }}"), r"any link could put a script"),
        (re.sub("{%.*%}", "{{ kind|length }}", SOUND), r""),
        (re.sub("{%.*%}", "", SOUND), r"says the same when an address is listed and when"),
        (
            SOUND.replace("<p>{{ incident", "{% if kind == 'reply' %}{{ incident").replace(
                "{{ time }}", "{% endif %}"
            ),
            r"kind 'request' does not show the incident",
        ),
        (SOUND.encode() + b"\n\xff", r":7: is not UTF-8; save"),
        (SOUND + "\n\x00", r":7: has a control character"),
        (SOUND + " " * MAX_TEMPLATE_BYTES, r"larger than 256 KiB"),
    ],
)
def test_template_that_cannot_be_used_is_said_by_its_line(
    tmp_path: Path, text: str | bytes, said: str
) -> None:
    if not said:
        pages_of(tmp_path, text)
        return
    with pytest.raises(Unreadable, match=said) as error:
        pages_of(tmp_path, text)
    assert "\n" not in str(error.value)
    assert "; " in str(error.value)


def test_command_refuses_and_leaves_the_pages_that_are_there(installation: Installation) -> None:
    assert installation.run("inkgate-squid-conf", "pages").returncode == 0
    page = installation.folder / "pages" / PAGES["request"]
    before = page.read_bytes()
    with installation.config.open("a") as file:
        file.write('template = "own.html"\n')
    own = installation.folder / "own.html"
    for text in (None, SOUND.replace("{{ time }}", "%T")):
        if text:
            own.write_text(text)
        done = installation.run("inkgate-squid-conf", "pages")
        assert done.returncode == 2
        assert done.stderr.startswith(f"inkgate-squid-conf: {own}:")
        assert done.stderr.count("\n") == 1
        assert page.read_bytes() == before
    own.write_text(SOUND)
    done = installation.run("inkgate-squid-conf", "pages")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(page.parent / name) for name in PAGES.values()]
    assert "never" in page.read_text()


def test_own_template_can_begin_with_inkgates(installation: Installation) -> None:
    shown = installation.run("inkgate-squid-conf", "pages", "--show-template").stdout
    assert shown == own_source()


def test_icap_server_does_not_start_with_a_template_that_cannot_be_used(
    installation: Installation,
) -> None:
    with installation.config.open("a") as file:
        file.write('template = "own.html"\n')
    own = installation.folder / "own.html"
    own.write_text(SOUND)
    made = load_sections(installation.config).pages
    page = made.full("reply", incident="IG-1", address="http://a.example/", time="now")
    assert "<p>IG-1 http://a.example/ now" in page
    own.write_text(SOUND.replace("{{ time }}", "%T"))
    with pytest.raises(Unreadable, match="code of Squid's own"):
        load_sections(installation.config)
