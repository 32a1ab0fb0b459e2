"""What the pages say: the same in each language, the truth of each kind, nothing unescaped."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import get_args

import pytest

from inkgate.blocked_page.contact import contact_links
from inkgate.blocked_page.page import CODES, PAGES, BlockedPages
from inkgate.blocked_page.wording import LANGUAGES, Kind

INCIDENT = "IG-0123456789"
CONTACT = "desk@organisation.example"
KINDS = get_args(Kind)
SAYS_DANGEROUS = ("known to be dangerous", "connu pour être dangereux", "als gefährlich bekannt")
SAYS_NOTHING_WAS_SENT = ("Nothing was sent", "Rien ne lui a été", "Es wurde nichts")


class Page(HTMLParser):
    """Reads a page, and fails where it is not well-formed or would load anything."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.languages: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.texts: dict[str, str] = {}
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.seen.append(tag)
        self.links += [given["href"] or ""] if "href" in given else []
        self.ids += [given["id"] or ""] if "id" in given else []
        assert "src" not in given
        if tag == "section":
            self.languages.append(given["lang"] or "")
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "section" in self.open:
            language = self.languages[-1]
            self.texts[language] = self.texts.get(language, "") + data


def full(kind: Kind, organisation: str = "Example Ltd", contact: str = CONTACT) -> str:
    return BlockedPages(organisation, contact).full(
        kind, incident=INCIDENT, address="http://a.example/", time="2026-11-26 01:00:00 UTC+0100"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_each_language_is_whole(kind: Kind) -> None:
    page = Page(full(kind))
    assert page.languages == [language.code for language in LANGUAGES] == ["en", "fr", "de"]
    for language in LANGUAGES:
        text, said = page.texts[language.code], language.said[kind]
        assert said.heading in text
        assert said.advice in text
        assert said.explanation.format(organisation="Example Ltd") in text
        for value in (CODES.get(kind, INCIDENT), "http://a.example/", "UTC+0100", CONTACT):
            assert value in text, language.code
        for label in (said.reference, language.address, language.time, language.questions):
            assert label in text, language.code


@pytest.mark.parametrize("kind", KINDS)
def test_languages_share_no_sentence(kind: Kind) -> None:
    """A sentence that stands in two languages was not translated."""
    for place in ("heading", "explanation", "advice"):
        said = {getattr(language.said[kind], place) for language in LANGUAGES}
        assert len(said) == len(LANGUAGES)


def test_every_language_has_its_words_in_the_lists() -> None:
    assert len(SAYS_DANGEROUS) == len(SAYS_NOTHING_WAS_SENT) == len(LANGUAGES)
    for language, words in zip(LANGUAGES, SAYS_DANGEROUS, strict=True):
        assert words in language.said["request"].explanation


@pytest.mark.parametrize("kind", KINDS)
def test_only_what_is_listed_is_called_dangerous(kind: Kind) -> None:
    page = full(kind)
    for words in SAYS_DANGEROUS:
        assert (words in page) == (kind in ("request", "reply")), words


@pytest.mark.parametrize("kind", KINDS)
def test_only_a_stopped_request_is_said_to_have_sent_nothing(kind: Kind) -> None:
    page = full(kind)
    for words in SAYS_NOTHING_WAS_SENT:
        assert (words in page) == (kind == "request"), words


@pytest.mark.parametrize("kind", KINDS)
def test_page_can_be_used_by_everybody(kind: Kind) -> None:
    """One first heading, a language for every part, links that lead somewhere, no script."""
    text = full(kind)
    page = Page(text)
    assert '<html lang="en">' in text
    assert page.seen.count("h1") == page.seen.count("main") == page.seen.count("title") == 1
    assert "script" not in page.seen
    inside = [link for link in page.links if link.startswith("#")]
    assert [link[1:] for link in inside] == page.ids == page.languages
    outside = set(page.links) - set(inside)
    assert outside == {f"mailto:{CONTACT}?subject={CODES.get(kind, INCIDENT)}"}


@pytest.mark.parametrize(
    ("contact", "html"),
    [
        (
            "help <desk@a.example> 100%",
            'help &lt;<a href="mailto:desk@a.example?subject=IG-1">desk@a.example</a>&gt; 100%',
        ),
        (
            "See https://a.example/?a=1&b=%41.",
            'See <a href="https://a.example/?a=1&amp;b=%41">https://a.example/?a=1&amp;b=%41</a>.',
        ),
        ("mailto:a@b.example", '<a href="mailto:a@b.example?subject=IG-1">a@b.example</a>'),
        (
            "o'neil?x@b.example",
            '<a href="mailto:o%27neil%3Fx@b.example?subject=IG-1">o&#39;neil?x@b.example</a>',
        ),
        ("+49 30 1234", "+49 30 1234"),
        ("javascript:alert(1)", "javascript:alert(1)"),
        (
            'https://a.example/"onload=x',
            '<a href="https://a.example/">https://a.example/</a>&#34;onload=x',
        ),
        ("<b>desk</b>", "&lt;b&gt;desk&lt;/b&gt;"),
    ],
)
def test_addresses_in_the_contact_are_links(contact: str, html: str) -> None:
    assert contact_links(contact, "IG-1") == html


@pytest.mark.parametrize("kind", sorted(PAGES))
def test_squid_fills_in_what_only_it_knows(kind: Kind) -> None:
    text = BlockedPages("100% of <us> @Squid{%ea}", CONTACT).for_squid(kind)
    languages = len(LANGUAGES)
    # Squid ends at a code that it does not know.
    codes = re.findall(r"(?<!%)(?:%%)*%(?!%)(.)", re.sub(r"@Squid\{%\{.*?\}tl\}", "", text))
    assert set(codes) == ({"o", "U"} if kind != "unavailable" else {"U"})
    assert text.count("@Squid{%{%Y-%m-%d %H:%M:%S UTC%z}tl}") == text.count("@Squid{") == languages
    assert text.count("100%% of &lt;us&gt; &#64;Squid{%%ea}") == languages
    assert text.count("%U") == languages
    Page(text)


def test_full_page_escapes_what_it_is_given() -> None:
    text = BlockedPages("A & B", "100%").full(
        "request", incident="IG-1", address="http://x/<b>", time="now"
    )
    Page(text)
    assert "A &amp; B" in text
    assert "http://x/&lt;b&gt;" in text
    assert "100%</dd>" in text
    assert "%o" not in text


def test_empty_settings_are_said_in_each_language() -> None:
    page = Page(full("request", "", ""))
    for language in LANGUAGES:
        assert language.organisation in page.texts[language.code]
        assert language.contact in page.texts[language.code]
