"""The blocked page: as a Squid error template (Squid FAQ: customised error pages), or in full."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from inkgate.config.modes import make_folder
from inkgate.config.whole_file import remove_unfinished, write_whole

PAGE: Final = "ERR_INKGATE_BLOCKED"


def blocked_page(organisation: str, contact: str) -> str:
    """The page with an organisation's name and contact filled in.

    Squid fills in the rest: %o the incident id, %U the URL without its query, %T the
    time. It escapes all three for HTML.
    """
    return _template().render(
        organisation=_literal(_organisation(organisation)),
        contact=_literal(_contact(contact)),
        incident=Markup("%o"),
        address=Markup("%U"),
        time=Markup("%T"),
    )


def full_page(organisation: str, contact: str, *, incident: str, address: str, time: str) -> str:
    """The page with everything filled in, for who has no Squid to do it.

    Args:
        incident: the incident id.
        address: what was asked for, without its query.
        time: when.
    """
    return _template().render(
        organisation=_organisation(organisation),
        contact=_contact(contact),
        incident=incident,
        address=address,
        time=time,
    )


def write_pages(folder: Path, organisation: str, contact: str) -> Path:
    """Write the page where Squid reads it (mode 0644), and return its path."""
    make_folder(folder, 0o755)
    remove_unfinished(folder, PAGE)
    path = folder / PAGE
    write_whole(path, blocked_page(organisation, contact).encode(), 0o644)
    return path


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("inkgate.blocked_page"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("blocked.html")


def _organisation(text: str) -> str:
    return text or "your organisation"


def _contact(text: str) -> str:
    return text or "your help desk"


def _literal(text: str) -> Markup:
    # For the browser, and for Squid, to which % begins a code.
    return Markup(str(escape(text)).replace("%", "%%"))  # noqa: S704 (escaped just before)
