"""The pages: as Squid's error templates (Squid FAQ: customised error pages), or in full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from traceback import extract_tb
from typing import Final, NamedTuple, get_args

from jinja2 import Template
from markupsafe import Markup, escape

from inkgate.blocked_page.contact import contact_links
from inkgate.blocked_page.settings import SquidSettings
from inkgate.blocked_page.template import own_template, read_template
from inkgate.blocked_page.wording import LANGUAGES, Kind, Language
from inkgate.config.errors import Unreadable
from inkgate.config.modes import make_folder
from inkgate.config.settings_file import resolve
from inkgate.config.whole_file import remove_unfinished, write_whole

PAGES: Final[dict[Kind, str]] = {
    "request": "ERR_INKGATE_BLOCKED",
    "reply": "ERR_INKGATE_REPLY_BLOCKED",
    "unavailable": "ERR_INKGATE_UNAVAILABLE",
}
"""Squid's names of the pages that it shows; `unchecked` is for who sees bodies."""
CODES: Final[dict[Kind, str]] = {
    "unavailable": "inkgate-unavailable",
    "unchecked": "inkgate-unchecked",
}
"""What stands in place of an incident id, on the page as in Squid's log."""
TIME_FORMAT: Final = "%Y-%m-%d %H:%M:%S UTC%z"
# Stand for what Squid fills in, until the percent signs of everything else are doubled.
# Characters for private use are in no text that means anything.
_INCIDENT, _ADDRESS, _TIME = "\ue010", "\ue011", "\ue012"
_FILLED_IN: Final = {
    "%": "%%",
    # Squid would end at a text that looks like this code of its own.
    "@Squid{": "&#64;Squid{",
    _INCIDENT: "%o",
    _ADDRESS: "%U",
    _TIME: "@Squid{%{" + TIME_FORMAT + "}tl}",
}
_PROBE: Final = "inkgate-probe"


class Text(NamedTuple):
    """What a page says in one language, ready for HTML."""

    language: str
    name: str
    heading: Markup
    explanation: Markup
    advice: Markup
    labels: dict[str, Markup]
    contact: Markup


class BlockedPages:
    """Makes the pages of one operator.

    Args:
        organisation: whose proxy it is; empty: said in general.
        contact: whom to ask; empty: said in general.
        template: the HTML.
    """

    def __init__(self, organisation: str, contact: str, template: Template | None = None) -> None:
        self._organisation = organisation
        self._contact = contact
        self._template = template or own_template()

    def full(self, kind: Kind, *, incident: str, address: str, time: str) -> str:
        """A page with everything filled in, for who has no Squid to do it.

        Args:
            kind: why it is shown.
            incident: the incident id; of no use where the kind has a code of its own.
            address: what was asked for, without its query.
            time: when.
        """
        reference = CODES.get(kind, incident)
        return self._template.render(
            kind=kind,
            organisation=self._organisation or LANGUAGES[0].organisation,
            contact=self._contact_in(LANGUAGES[0], reference),
            incident=reference,
            address=address,
            time=time,
            texts=[self._text(language, kind, reference) for language in LANGUAGES],
        )

    def for_squid(self, kind: Kind) -> str:
        """A page in which Squid fills in incident, address and time, escaped for HTML."""
        page = self.full(kind, incident=_INCIDENT, address=_ADDRESS, time=_TIME)
        for text, code in _FILLED_IN.items():
            page = page.replace(text, code)
        return page

    def _text(self, language: Language, kind: Kind, reference: str) -> Text:
        said = language.said[kind]
        organisation = self._organisation or language.organisation
        return Text(
            language.code,
            language.name,
            escape(said.heading),
            escape(said.explanation).format(organisation=organisation),
            escape(said.advice),
            {
                "incident": escape(said.reference),
                "address": escape(language.address),
                "time": escape(language.time),
                "contact": escape(language.questions),
            },
            self._contact_in(language, reference),
        )

    def _contact_in(self, language: Language, reference: str) -> Markup:
        return contact_links(self._contact or language.contact, reference)


def load_pages(config: Path, settings: SquidSettings) -> BlockedPages:
    """The pages as the settings want them, tried once.

    Args:
        config: the settings file; `[squid_conf] template` may be relative to its folder.
        settings: section `[squid_conf]`.

    Raises:
        Unreadable: the operator's template cannot be used.
    """
    if not settings.template:
        return BlockedPages(settings.organisation, settings.contact)
    path = resolve(config, settings.template)
    pages = BlockedPages(settings.organisation, settings.contact, read_template(path))
    _try(path, pages)
    return pages


def write_pages(folder: Path, pages: BlockedPages) -> list[Path]:
    """Write the pages where Squid reads them (mode 0644), and return their paths."""
    contents = {name: pages.for_squid(kind).encode() for kind, name in PAGES.items()}
    make_folder(folder, 0o755)
    for name, data in contents.items():
        remove_unfinished(folder, name)
        write_whole(folder / name, data, 0o644)
    return [folder / name for name in contents]


def missing_pages(folder: Path) -> Iterator[Path]:
    """The pages that Squid would look for in vain."""
    return (folder / name for name in PAGES.values() if not (folder / name).is_file())


def _try(path: Path, pages: BlockedPages) -> None:
    hostile = f"http://{_PROBE}.invalid/<{_PROBE}>"
    for kind in get_args(Kind):
        try:
            page = pages.full(kind, incident=_PROBE, address=hostile, time="2026-01-01")
        except Exception as error:  # noqa: BLE001 (whatever the operator's template does)
            raise Unreadable(path, _line(error), str(error), "correct that line") from None
        if f"<{_PROBE}>" in page:
            raise Unreadable(
                path,
                None,
                "it prints what the user asked for as HTML, so that any link could put a script "
                "there",
                "leave out |safe and autoescape false",
            )
        if CODES.get(kind, _PROBE) not in page:
            raise Unreadable(
                path,
                None,
                f"the page of kind {kind!r} does not show the incident",
                "write {{ incident }} outside of the conditions",
            )


def _line(error: Exception) -> int | None:
    # Jinja puts the template's lines into the traceback, under this name.
    lines = [at.lineno for at in extract_tb(error.__traceback__) if at.filename == "<template>"]
    return lines[-1] if lines else None
