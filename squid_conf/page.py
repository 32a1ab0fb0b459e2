"""The blocked page as a Squid error template (Squid FAQ: customised error pages)."""

from __future__ import annotations

import html
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final

PAGE: Final = "ERR_INKGATE_BLOCKED"


def blocked_page(organisation: str, contact: str) -> str:
    """The page with an organisation's name and contact filled in.

    Squid fills in the rest: %o the incident id, %U the URL without its query, %T the
    time. It escapes all three for HTML.
    """
    template = files("squid_conf").joinpath("templates/blocked.html").read_text("utf-8")
    return Template(template).substitute(
        organisation=_literal(organisation or "your organisation"),
        contact=_literal(contact or "your help desk"),
    )


def write_pages(folder: Path, organisation: str, contact: str) -> Path:
    """Write the page where Squid reads it (mode 0644), and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / PAGE
    temporary = path.with_name(f".{PAGE}.new")
    temporary.write_text(blocked_page(organisation, contact), "utf-8")
    temporary.chmod(0o644)
    temporary.replace(path)
    return path


def _literal(text: str) -> str:
    # For the browser, and for Squid, to which % begins a code.
    return html.escape(text).replace("%", "%%")
