"""Values of more than 8,192 bytes cannot be listed, and cost nothing (docs/format.md, 2.7)."""

from __future__ import annotations

import pytest

from inkgate.rules.canonical import MAX_VALUE_BYTES, Refused, canonical_attribute
from inkgate.rules.crypto.derive import Deriver
from inkgate.rules.crypto.profiles import Hkdf
from inkgate.rules.lookup.matcher import Matcher
from inkgate.rules.lookup.steps import finish
from support.installation import Installation, attribute


def url(bytes_of_canonical: int) -> str:
    return "http://files.example/" + "a" * (bytes_of_canonical - len("files.example/"))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("url", "http://files.example/" + "\x7f" * 2_800),
        ("filename|md5", "x" * 8_155 + "|" + "0" * 32),
        ("regkey|value", "x" * 4_094 + "|" + "y" * 4_096),
    ],
)
def test_canonical_form_that_is_too_long_is_refused_with_its_reason(kind: str, text: str) -> None:
    assert len(text.encode()) <= MAX_VALUE_BYTES
    with pytest.raises(Refused, match="longer than 8192 bytes in canonical form"):
        canonical_attribute(kind, text)


def test_refusal_is_in_the_report(installation: Installation) -> None:
    installation.add(
        "long",
        attribute("url", "http://files.example/" + "\x7f" * 2_800),
        attribute("domain", "listed.example"),
    )
    report = installation.refresh().report
    assert report.counts["refused", "longer than 8192 bytes in canonical form"] == 1


@pytest.fixture
def matcher(installation: Installation) -> Matcher:
    installation.add(
        "listed",
        attribute("url", url(8_185)),
        attribute("user-agent", "x" * MAX_VALUE_BYTES),
        attribute("filename", "y" * MAX_VALUE_BYTES),
    )
    installation.refresh()
    return installation.matcher()


def test_nothing_longer_is_derived(matcher: Matcher) -> None:
    asked: list[int] = []

    def stretch(kind: str, data: bytes) -> bytes:
        asked.append(len(data))
        return matcher.stretch(kind, data)

    assert finish(matcher.user_agent_steps("x" * MAX_VALUE_BYTES), stretch)
    assert finish(matcher.url_steps(url(8_185)), stretch)
    assert not finish(matcher.user_agent_steps("x" * (MAX_VALUE_BYTES + 1)), stretch)
    assert not finish(matcher.url_steps(url(MAX_VALUE_BYTES + 1)), stretch)
    # The query hides nothing: without it the URL is looked up.
    assert finish(matcher.url_steps(url(8_185) + "?" + "z" * 100), stretch)
    assert max(asked) == MAX_VALUE_BYTES
    assert matcher.look_up("filename", "text", b"y" * MAX_VALUE_BYTES)
    assert matcher.look_up("filename", "text", b"y" * (MAX_VALUE_BYTES + 1)) is None


def test_no_derivation_takes_more() -> None:
    deriver = Deriver(bytes(32), {"text": Hkdf()})
    assert len(deriver.stretch("text", b"x" * MAX_VALUE_BYTES)) == 32
    with pytest.raises(ValueError, match="8192"):
        deriver.stretch("text", b"x" * (MAX_VALUE_BYTES + 1))
