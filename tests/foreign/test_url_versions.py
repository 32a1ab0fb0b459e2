"""URLs as each version of url-normalize spells them.

What is expected, url_spellings.json, was made by the real versions 1.3.3, 1.4.3, 2.0.1,
2.2.1 and 3.0.0 (make_url_spellings.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urldefrag

import pytest

from inkgate.rules.crypto.profiles import Caps
from inkgate.rules.foreign.batch import run_plan
from inkgate.rules.foreign.opening import open_foreign
from inkgate.rules.foreign.plan import make_plan
from inkgate.rules.foreign.thesis_values import thesis_values
from inkgate.rules.foreign.thesis_writer import Pbkdf2Cost, ThesisWriter
from inkgate.rules.foreign.url_versions import NEWEST, VERSIONS
from inkgate.rules.sources.attribute import Attribute
from support.foreign_rules import TOKEN, observed, thesis_folder

REAL = {"1.3": "1.3.3", "1.4": "1.4.3", "2.0": "2.0.1", "2.2": "2.2.1", "3.0": "3.0.0"}
ROWS: list[dict[str, str]] = json.loads(
    (Path(__file__).parent / "url_spellings.json").read_text("ascii")
)


def thesis_steps(url: str, normal: str | None) -> str:
    """What the thesis's code does with what url-normalize made; None stands for an error."""
    if normal is None:
        return url
    normal = urldefrag(normal)[0]
    for page in ("default.asp", "index.html", "index.php", r"\?"):
        normal = re.sub(page + "$", "", normal)
    return re.sub("^https?://(www.)?", "", normal)


def test_versions_that_spell_alike_are_one_and_every_other_is_known() -> None:
    assert [*REAL, NEWEST] == list(VERSIONS)
    for older, newer in zip(list(REAL.values()), list(REAL.values())[1:], strict=False):
        assert any(row[older] != row[newer] for row in ROWS)


@pytest.mark.parametrize("version", REAL)
def test_a_version_spells_as_the_real_one_did(version: str) -> None:
    def spelt(url: str) -> str | None:
        try:
            return urldefrag(VERSIONS[version](url))[0]
        except (ValueError, LookupError):
            return None

    real = {row["url"]: row[REAL[version]] for row in ROWS}
    wanted = {url: None if made is None else urldefrag(made)[0] for url, made in real.items()}
    assert {url: spelt(url) for url in real} == wanted


@pytest.mark.parametrize("version", REAL)
def test_a_folder_made_with_any_version_is_found_whole(tmp_path: Path, version: str) -> None:
    spelt = {row["url"]: thesis_steps(row["url"], row[REAL[version]]) for row in ROWS}
    entries = [("url", value, url) for url, value in spelt.items() if url == url.strip()]
    rules = open_foreign(thesis_folder(tmp_path / "set", "sha256", entries), TOKEN.encode, Caps())
    plan = make_plan(rules, observed(f"url={url}" for _, _, url in entries))
    found = {(match.query, match.message) for match in run_plan(plan, 1, lambda _: None)}
    assert {(f"url={url}", url) for _, _, url in entries} <= found


# As it is listed, and as Squid logs the request of somebody who meets it.
MET = (
    ("http://files.example/x?b=2&a=1", "http://files.example/x?b=2&a=1"),
    ("hxxp://FILES[.]example/a(dot)b", "http://files.example/a(dot)b"),
    ("http://files.example\\a\\b?c\\d#e", "http://files.example/a/b?c\\d"),
    ("http://user:pass@files.example/a", "http://files.example/a"),
    ("http://fa\u00df.example/a", "http://xn--fa-hia.example/a"),
    ("http:///files.example/a", "http://files.example/a"),
    ("files.example:8080/a", "http://files.example:8080/a"),
    ("http://0xc0000201/a", "http://192.0.2.1/a"),
    ("http://files.example/a?b=&c", "http://files.example/a?b=&c"),
    ("http://files.example?a", "http://files.example/?a"),
    ("http://[2001:DB8:0::1]:8080/a", "http://[2001:db8::1]:8080/a"),
    ("https://www.files.example/index.php?", "https://www.files.example/index.php"),
    ("ftp://files.example/a", "ftp://files.example/a"),
)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("listed", "logged"), MET)
def test_export_writes_what_the_partners_matcher_makes_of_the_request(
    version: str, listed: str, logged: str
) -> None:
    attribute = Attribute(type="url", value=listed, uuid="u")
    made = thesis_steps(logged, VERSIONS[version](logged))
    assert made in [values["url"] for values in thesis_values(attribute, [version])]
    assert made in [values["url"] for values in thesis_values(attribute)]


def rows_of(folder: Path) -> Iterator[list[str]]:
    for path in folder.glob("*.tsv"):
        yield from (line.split("\t") for line in path.read_text().splitlines()[1:])


def test_one_rule_a_spelling_and_one_alone_for_a_version_that_was_chosen(tmp_path: Path) -> None:
    attributes = [
        Attribute(type="url", value="http://files.example/x?b=2&a=1", uuid="u"),
        Attribute(type="url", value="http://files.example/x", uuid="u"),
        Attribute(type="domain", value="Files.Example", uuid="u"),
        Attribute(type="email-src", value="Someone@files.example", uuid="u"),
    ]
    counts = {}
    for name, versions in {"any": list(VERSIONS), "1.4": ["1.4"]}.items():
        writer = ThesisWriter(
            tmp_path / name, TOKEN.encode(), Pbkdf2Cost("sha256", 1, 1), ("uuid",), versions
        )
        for attribute in attributes:
            writer.add(attribute)
        writer.finish()
        counts[name] = dict(writer.written)
        assert writer.written.total() == len(list(rows_of(tmp_path / name)))
    # Parameters sorted and in their order; names as they stand and in lower case.
    assert counts["any"] == {"url": 3, "domain": 2, "email-src": 2}
    assert counts["1.4"] == {"url": 2, "domain": 2, "email-src": 2}


@pytest.mark.parametrize(
    ("kind", "listed", "spellings"),
    [
        ("domain", "Listed.Example", ["listed.example", "Listed.Example"]),
        ("domain", "listed[.]example", ["listed.example"]),
        ("hostname", "Listed.Example", ["listed.example"]),
        ("ip-dst", "2001:DB8:0::1", ["2001:db8::1"]),
        ("md5", "AB" * 16, ["ab" * 16, "AB" * 16]),
        ("md5", ":".join(["AB"] * 16), ["ab" * 16]),
        ("mutex", " Global\\X ", ["Global\\X"]),
        ("AS", "AS64500", ["64500", "AS64500"]),
        (
            "domain|ip",
            "Pair.Example|192.0.2.7",
            ["pair.example|192.0.2.7", "Pair.Example|192.0.2.7"],
        ),
        ("ip-dst|port", "192.0.2.7:443", ["192.0.2.7|443"]),
        ("regkey|value", "K|a|b", ["K|a|b", "K|a|b"]),
        ("filename|md5", f"a|b.exe|{'ab' * 16}", [f"a|b.exe|{'ab' * 16}"]),
    ],
)
def test_export_writes_other_values_as_logs_have_them(
    kind: str, listed: str, spellings: list[str]
) -> None:
    made = thesis_values(Attribute(type=kind, value=listed, uuid="u"))
    assert ["|".join(values.values()) for values in made] == spellings
    assert len({tuple(values.items()) for values in made}) == len(made)
