"""The blocked page says the same in each of its languages."""

from __future__ import annotations

import re
from importlib.resources import files

from inkgate.blocked_page.page import blocked_page, full_page

INCIDENT = "IG-0123456789"
CONTACT = "desk@organisation.example"
LANGUAGE = re.compile(
    r'<(main|section lang="([a-z]{2,3}(?:-[A-Za-z]+)?)")>(.*?)(?=<section|</main>)'
)


def languages(page: str) -> dict[str, str]:
    """What the page says, by language; the first one is that of the page itself."""
    found = [(code or "en", text) for _, code, text in LANGUAGE.findall(page.replace("\n", " "))]
    assert len(dict(found)) == len(found), "a language comes twice"
    return dict(found)


def test_each_language_tells_the_incident_and_whom_to_ask() -> None:
    page = full_page(
        "Example Ltd", CONTACT, incident=INCIDENT, address="http://a.example/", time="now"
    )
    told = languages(page)
    assert next(iter(told)) == "en"
    assert len(told) > 1
    for code, text in told.items():
        assert INCIDENT in text, code
        assert CONTACT in text, code


def test_squid_fills_the_incident_in_in_each_language() -> None:
    for code, text in languages(blocked_page("Example Ltd", CONTACT)).items():
        assert "%o" in text, code


def test_template_has_no_percent_sign_of_its_own() -> None:
    """Squid would take it for a code, and the ICAP server would show two of them."""
    template = files("inkgate.blocked_page").joinpath("templates/blocked.html").read_text()
    assert "%" not in re.sub(r"\{[{%].*?[%}]\}", "", template)
