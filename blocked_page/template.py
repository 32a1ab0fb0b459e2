"""The HTML of the pages: inkgate's own, or a file of the operator's, checked as a whole.

Both are Jinja templates with the same names in them (docs/settings.md), so that one file
serves Squid, which fills values in by codes of its own, and the ICAP server.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from jinja2 import Environment, StrictUndefined, Template, TemplateSyntaxError, nodes
from jinja2.meta import find_undeclared_variables

from inkgate.config.errors import Unreadable
from inkgate.config.kept_files import place_of

MAX_TEMPLATE_BYTES: Final = 256 << 10
NAMES: Final = frozenset(
    {"kind", "texts", "organisation", "contact", "incident", "address", "time"}
)
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# Squid's codes for templates; a percent sign and two hexadecimal digits are part of a URL.
_CODE: Final = re.compile(r"%%|%(?![0-9A-Fa-f]{2})[A-Za-z]")
_EXTENDED: Final = re.compile(r"@Squid\{")
_IN_ITS_PLACE: Final = {
    "%%": "one percent sign",
    "%o": "{{ incident }}",
    "%O": "{{ incident }}",
    "%U": "{{ address }}",
    "%u": "{{ address }}",
    "%T": "{{ time }}",
    "%t": "{{ time }}",
}


@cache
def own_template() -> Template:
    """The one that inkgate brings."""
    return _environment().from_string(own_source())


def own_source() -> str:
    """Its text, for who wants to begin with it."""
    return files("inkgate.blocked_page").joinpath("templates/blocked.html").read_text("utf-8")


def read_template(path: Path) -> Template:
    """Read an operator's template; what only a rendering shows is for the caller to check.

    Raises:
        Unreadable: it cannot be used; says on which line, why, and what to do.
    """
    source = _read(path)
    # Before Jinja sees `{%` in it.
    _check_codes(path, [(1, source)], _EXTENDED)
    try:
        parsed = _environment().parse(source)
        _check_names(path, parsed)
        _check_codes(path, _html(source), _CODE)
        return _environment().from_string(source)
    except TemplateSyntaxError as error:
        raise Unreadable(
            path, error.lineno, error.message or "is no Jinja template", "correct that line"
        ) from None


def _environment() -> Environment:
    return Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)


def _read(path: Path) -> str:
    try:
        with place_of(path).open("rb") as file:
            data = file.read(MAX_TEMPLATE_BYTES + 1)
    except OSError as error:
        raise Unreadable(
            path, None, error.strerror or "cannot be read", "correct [squid_conf] template"
        ) from None
    if len(data) > MAX_TEMPLATE_BYTES:
        raise Unreadable(path, None, "is larger than 256 KiB", "leave large pictures out")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Unreadable(path, line, "is not UTF-8", "save the file as UTF-8") from None
    if found := _CONTROL.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise Unreadable(path, line, "has a control character", "remove it")
    return text


def _check_names(path: Path, parsed: nodes.Template) -> None:
    used = find_undeclared_variables(parsed)
    for node in parsed.find_all(nodes.Name):
        if node.name in used - NAMES:
            raise Unreadable(
                path,
                node.lineno,
                f"{node.name!r} is no name of the page",
                f"use {', '.join(sorted(NAMES))}",
            )
    if "incident" not in used:
        raise Unreadable(
            path, None, "the incident is missing", "write {{ incident }} where users can read it"
        )
    if not used & {"kind", "texts"}:
        raise Unreadable(
            path,
            None,
            "it says the same when an address is listed and when it could not be checked",
            "print what is in texts, or ask {% if kind == 'unavailable' %}",
        )


def _check_codes(path: Path, pieces: Iterable[tuple[int, str]], code: re.Pattern[str]) -> None:
    for line, text in pieces:
        if found := code.search(text):
            place = line + text.count("\n", 0, found.start())
            remedy = _IN_ITS_PLACE.get(found[0], "one of the names in {{ }}, or nothing,")
            raise Unreadable(
                path, place, f"{found[0]!r} is a code of Squid's own", f"write {remedy} instead"
            )


def _html(source: str) -> Iterator[tuple[int, str]]:
    """What is not Jinja's, piece by piece with the line on which it begins."""
    for line, kind, text in _environment().lex(source):
        if kind == "data":
            yield line, text
