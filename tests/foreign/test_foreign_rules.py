"""Rule sets of the thesis's and the paper's tools: what went in is found, nothing else is."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkgate.rules.crypto.profiles import Caps
from inkgate.rules.foreign.batch import run_plan
from inkgate.rules.foreign.bloom_filter import read_bloom_filter
from inkgate.rules.foreign.opening import open_foreign
from inkgate.rules.foreign.plan import ForeignMatch, make_plan, statement
from inkgate.rules.foreign.rule import ForeignRules
from inkgate.rules.foreign.spelling import thesis_value
from inkgate.rules.foreign.thesis_writer import Pbkdf2Cost, ThesisWriter
from inkgate.rules.sources.attribute import Attribute
from support.foreign_rules import (
    ENTRIES,
    METADATA,
    TOKEN,
    bloom,
    observed,
    paper_rule,
    thesis_folder,
)
from support.installation import BIN, Installation, attribute

QUERIES = {
    "domain=listed.example": "uuid-1,7,20260101",
    "ip-dst=198.51.100.66": "uuid-2,7,20260101",
    "url=https://www.files.example/bad?x=1#top": "uuid-3,7,20260101",
    "domain|ip=pair.example|192.0.2.7": "uuid-4,7,20260101",
    "email-recipient=someone@listed.example": "uuid-5,7,20260101",
    f"md5={'AB' * 16}": "uuid-6,7,20260101",
}
UNLISTED = (
    "domain=unlisted.example",
    "ip-dst=198.51.100.67",
    "url=http://files.example/bad?x=2",
    "domain|ip=pair.example|192.0.2.8",
    "ip-src=198.51.100.66",
)
WITH_RULES = [name for name in METADATA if name != "bloom_filter"]


def opened(where: Path, token: str = TOKEN) -> ForeignRules:
    return open_foreign(where, token.encode, Caps())


def matches(rules: ForeignRules, queries: Iterable[str], jobs: int = 1) -> list[ForeignMatch]:
    return list(run_plan(make_plan(rules, observed(queries)), jobs, lambda _: None))


def messages(rules: ForeignRules, queries: Iterable[str]) -> dict[str, str]:
    return {match.query: match.message for match in matches(rules, queries)}


def run(config: Path, *arguments: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "inkgate-rules", "--config", config, *arguments],
        capture_output=True,
        text=True,
        input=given,
        timeout=60,
        check=False,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text(TOKEN + "\n")
    path = tmp_path / "inkgate.toml"
    path.write_text('[rules]\ntoken_file = "token"\ninstalled = "set"\npublisher = "publisher"\n')
    return path


@pytest.mark.parametrize("name", WITH_RULES)
@pytest.mark.slow
def test_every_value_of_a_thesis_folder_is_found_with_its_message(
    tmp_path: Path, name: str
) -> None:
    rules = opened(thesis_folder(tmp_path / "set", name))
    assert rules.name == f"thesis {name}"
    assert messages(rules, QUERIES) == QUERIES
    assert matches(rules, UNLISTED) == []


@pytest.mark.parametrize("name", WITH_RULES)
@pytest.mark.slow
def test_a_wrong_token_gives_no_match(tmp_path: Path, name: str) -> None:
    rules = opened(thesis_folder(tmp_path / "set", name), TOKEN + "x")
    assert matches(rules, QUERIES) == []


def test_a_bloom_filter_says_may_be_listed_and_needs_the_token(tmp_path: Path) -> None:
    folder = thesis_folder(tmp_path / "set", "bloom_filter")
    found = matches(opened(folder), QUERIES)
    assert [m.query for m in found] == list(QUERIES)
    assert not any(m.certain or m.message for m in found)
    others = [f"domain=other{n}.example" for n in range(2000)]
    assert len(matches(opened(folder), others)) < 60
    assert len(matches(opened(folder, TOKEN + "x"), QUERIES)) < 3


@pytest.mark.parametrize("rate", [0.5, 0.3, 0.01, 1e-4, 1e-9, 1e-20])
@pytest.mark.parametrize("capacity", [20, 400_000])
@pytest.mark.slow
def test_filters_of_every_digest_and_width_are_read_as_written(
    tmp_path: Path, rate: float, capacity: int
) -> None:
    values = [f"v{n}.example" for n in range(20)]
    path = tmp_path / "joker"
    path.write_bytes(bloom(values, rate, capacity))
    read = read_bloom_filter(path)
    assert all(value.encode() in read for value in values)
    assert read.error_rate == rate
    others = sum(f"o{n}.example".encode() in read for n in range(500))
    assert others <= 500 * min(1, 3 * rate) + 3


def test_rules_of_the_paper_are_found_with_their_course_of_action(tmp_path: Path) -> None:
    paper_rule(tmp_path / "a.rule", "hkdf", "domain", "listed.example", "block")
    paper_rule(tmp_path / "b.rule", "pbkdf2", "ip-dst,dst-port", "192.0.2.7,80", "call")
    paper_rule(tmp_path / "c.rule", "pbkdf2", "url", "http://files.example/bad", "look")
    queries = {
        "domain=listed.example": "block",
        "ip-dst|port=192.0.2.7|80": "call",
        "url=http://files.example/bad": "look",
    }
    rules = open_foreign(tmp_path, _no_token, Caps())
    assert messages(rules, queries) == queries
    assert matches(rules, UNLISTED) == []
    one = open_foreign(tmp_path / "a.rule", _no_token, Caps())
    assert messages(one, queries) == {"domain=listed.example": "block"}


def _no_token() -> bytes:
    raise AssertionError("these rules have no token")


def test_an_observation_of_a_pair_also_meets_rules_for_one_part(tmp_path: Path) -> None:
    rules = opened(thesis_folder(tmp_path / "set", "sha256"))
    (match,) = matches(rules, ["domain|ip=listed.example|203.0.113.9"])
    assert (match.attributes, match.message) == (("domain",), ENTRIES[0][2])


@pytest.mark.parametrize("hash_name", ["md5", "sha1", "SHA256", "sha3_256", "blake2b", "sha512"])
@pytest.mark.parametrize("section", ["hkdf", "pbkdf2"])
def test_a_rule_of_the_paper_with_any_hash_function_is_found(
    tmp_path: Path, section: str, hash_name: str
) -> None:
    paper_rule(tmp_path / "a.rule", section, "domain", "listed.example", "block", hash_name)
    rules = open_foreign(tmp_path, _no_token, Caps())
    assert messages(rules, ["domain=listed.example"]) == {"domain=listed.example": "block"}
    assert rules.unread.count == 0


def test_a_set_of_the_thesis_with_md5_is_found(tmp_path: Path) -> None:
    folder = thesis_folder(tmp_path / "set", "pbkdf2", changed={"hash_name": "md5"})
    assert messages(opened(folder), QUERIES) == QUERIES


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("sha256", "md99", "hash_name is no hash function that this Python has"),
        ("sha256", "shake_128", "hash_name is no hash function that this Python has"),
        ("sha256", "../sha256", "hash_name is no hash function that this Python has"),
        ("dklen = 16", "dklen = 17", "dklen is none of 16, 24, 32"),
        ("iterations = 7", "iterations = 4000000000", "above this machine's cap"),
        ("salt = ", "salt = !", "salt is not base64"),
        ("[pbkdf2]", "[scrypt]", "has neither [hkdf] nor [pbkdf2]"),
        ("[ioc]", "ioc", "is not an INI line"),
    ],
)
def test_a_rule_of_the_paper_that_cannot_be_used_leaves_the_others(
    tmp_path: Path, config: Path, old: str, new: str, why: str
) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    for name, host in (("a", "a.example"), ("b", "listed.example"), ("c", "c.example")):
        paper_rule(folder / f"{name}.rule", "pbkdf2", "domain", host, "block")
    text = (folder / "a.rule").read_text()
    assert old in text
    (folder / "a.rule").write_text(text.replace(old, new))
    done = run(config, "match", "--foreign", folder, "domain=listed.example")
    assert done.stdout == "domain=listed.example\tdomain\tblock\n"
    (line,) = [line for line in done.stderr.splitlines() if "not read: " in line]
    assert str(folder / "a.rule") in line
    assert why in line
    # Somebody who asks for an exit status must not believe that all was looked at.
    assert done.returncode == 2


def test_a_row_of_the_thesis_that_cannot_be_used_leaves_the_others(tmp_path: Path) -> None:
    entries = [("domain", f"l{n}.example", f"m{n}") for n in range(50)]
    folder = thesis_folder(tmp_path / "set", "sha256", [*entries, *ENTRIES[1:]])
    lines = (folder / "domain.tsv").read_text().splitlines()
    lines[1:31] = [line[:30] for line in lines[1:31]]
    (folder / "domain.tsv").write_text("\n".join(lines) + "\n")
    (folder / "url.tsv").write_bytes(b"\xff\n")
    rules = opened(folder)
    assert rules.unread.count == 31
    assert len(rules.unread.first) == 20
    assert str(rules.unread.first[0]).startswith(f"{folder / 'domain.tsv'}:2: ")
    found = messages(rules, [*QUERIES, *(f"domain=l{n}.example" for n in range(50))])
    wanted = {query: text for query, text in QUERIES.items() if "url=" not in query}
    del wanted["domain=listed.example"]
    assert found == wanted | {f"domain=l{n}.example": f"m{n}" for n in range(30, 50)}


def test_a_value_with_more_bars_than_its_type_is_read_in_each_way(tmp_path: Path) -> None:
    # readMisp splits at every bar and takes the first two parts.
    ways = ("HKLM\\Run||a", "HKLM\\Run||a|b", "HKLM\\Run|a||b")
    entries = [("regkey||value", way, f"m{number}") for number, way in enumerate(ways)]
    rules = opened(thesis_folder(tmp_path / "set", "sha256", entries))
    query = "regkey|value=HKLM\\Run|a|b"
    assert {match.message for match in matches(rules, [query])} == {"m0", "m1", "m2"}
    assert [m.message for m in matches(rules, ["regkey|value=HKLM\\Run|a"])] == ["m0"]
    assert matches(rules, ["regkey|value=HKLM\\Run|b"]) == []


def test_arguments_of_different_types_are_also_seen_together(tmp_path: Path) -> None:
    entries = [*ENTRIES, ("ip-dst||port", "192.0.2.7||443", "pair"), ("port", "443", "alone")]
    rules = opened(thesis_folder(tmp_path / "set", "sha256", entries))

    def found(*queries: str) -> list[tuple[str, str]]:
        return sorted((match.query, match.message) for match in matches(rules, queries))

    both = ("ip-dst=192.0.2.7", "port=443")
    assert found(*both) == [(" ".join(both), "pair"), ("port=443", "alone")]
    assert found(*reversed(both)) == [("port=443", "alone"), ("port=443 ip-dst=192.0.2.7", "pair")]
    # Which of the two addresses had this port is not said.
    assert found(*both, "ip-dst=192.0.2.8") == [("port=443", "alone")]


def test_arguments_seen_together_meet_a_bloom_filter_once(tmp_path: Path) -> None:
    rules = opened(thesis_folder(tmp_path / "set", "bloom_filter"))
    pair = ["domain=pair.example", "ip=192.0.2.7"]
    assert [m.query for m in matches(rules, pair)] == [*pair, " ".join(pair)]
    assert matches(rules, ["domain=listed.example", "ip=192.0.2.99"])[0].query == (
        "domain=listed.example"
    )


def test_bcrypt_rules_with_ip_in_their_type_open_at_either_cost(tmp_path: Path) -> None:
    rules = opened(thesis_folder(tmp_path / "set", "bcrypt"))
    costs = {rule.attributes: len(rule.derivations) for rule in rules.rules}
    assert costs["email-recipient",] == 2
    assert costs["ip-dst",] == costs["domain",] == 1


def test_the_filter_of_a_bloomy_set_spares_derivations(tmp_path: Path) -> None:
    entries = [("domain", f"l{n}.example", "m") for n in range(50)]
    rules = opened(thesis_folder(tmp_path / "set", "bloomy_sha256", entries))
    plan = make_plan(rules, observed(f"domain=o{n}.example" for n in range(400)))
    (group,) = plan.groups
    assert group.filtered + len(group.owners) == 400
    assert 0.2 < len(group.owners) / 400 < 0.42


def test_the_cost_is_said_per_rule_and_distinct_value(tmp_path: Path) -> None:
    entries = [("domain", f"l{n}.example", "m") for n in range(4)]
    rules = opened(thesis_folder(tmp_path / "set", "pbkdf2", entries))
    queries = ["domain=a.example", "domain=b.example", "domain=a.example"]
    plan = make_plan(rules, observed(queries))
    assert plan.derivations == 4 * 2
    assert plan.seconds > 0
    first, last = statement(plan, 2)
    assert "4 rules, each with its own salt, x 2 distinct values: 8 derivations" in first
    assert "3 iterations" in first
    assert "on 2 cores" in last


def test_all_cores_give_the_same_matches_in_the_same_order(tmp_path: Path) -> None:
    entries = [("domain", f"l{n}.example", f"m{n}") for n in range(30)]
    rules = opened(thesis_folder(tmp_path / "set", "pbkdf2", entries))
    plan = make_plan(rules, observed(f"domain=l{n}.example" for n in range(60)))
    plan.groups[0].seconds = 0.01  # as if it were dear, so that processes are started
    done: list[int] = []
    found = list(run_plan(plan, 2, done.append))
    assert [m.message for m in found] == [f"m{n}" for n in range(30)]
    assert sum(done) == 30 * 60


@given(st.text(max_size=60))
@pytest.mark.slow
def test_the_thesis_spelling_takes_any_text(text: str) -> None:
    for name in ("url", "hostname", "ip-dst", "domain"):
        assert isinstance(thesis_value(name, text), str)


@pytest.mark.parametrize(
    ("name", "value", "spelt"),
    [
        ("url", "http://www.Files.example/a/../index.html", "files.example/"),
        ("url", "https://files.example/a#b", "files.example/a"),
        ("link", "http://files.example", "files.example/"),
        ("url", "http://broken..org/a", "http://broken..org/a"),
        ("ip-src", "2001:DB8:0::1", "2001:db8::1"),
        ("ip-dst", "192.0.2.0/24", "192.0.2.0/24"),
        ("ip-dst", "not an address", "not an address"),
        ("hostname", "Host.Example", "host.example"),
        ("domain", "Domain.Example", "Domain.Example"),
    ],
)
def test_the_thesis_spelling_of_values(name: str, value: str, spelt: str) -> None:
    assert thesis_value(name, value) == spelt


def test_what_we_write_for_the_thesis_is_what_its_format_says(tmp_path: Path) -> None:
    from support.foreign_rules import aes_ctr, thesis_key

    writer = ThesisWriter(
        tmp_path / "set", TOKEN.encode(), Pbkdf2Cost("sha512", 3, 5), ("uuid", "event_id", "date")
    )
    for kind, value in (("domain|ip", "pair.example|192.0.2.7"), ("domain", "listed.example")):
        writer.add(Attribute(type=kind, value=value, uuid="u,1", event_id="7", date="2026-01-02"))
    writer.finish()
    metadata = (tmp_path / "set" / "metadata").read_text()
    assert metadata == (
        "[crypto]\nname = pbkdf2\nhash_name = sha512\ndklen = 32\n"
        "iterations = 3\nipiterations = 5\n\n"
    )
    derive = thesis_key("pbkdf2", {**METADATA["pbkdf2"], "hash_name": "sha512"})
    for name, types, value in (
        ("domain_ip", "domain||ip", "pair.example||192.0.2.7"),
        ("domain", "domain", "listed.example"),
    ):
        data = (tmp_path / "set" / f"{name}.tsv").read_bytes()
        header, row, rest = data.decode("ascii").split("\r\n")
        assert header == "salt\tattributes\tnonce\tciphertext-check\tciphertext"
        assert rest == ""
        import base64

        salt, told, nonce, check, ciphertext = row.split("\t")
        assert told == types
        key = derive(value.encode(), base64.b64decode(salt), types)
        sealed = base64.b64decode(check) + base64.b64decode(ciphertext)
        assert len(base64.b64decode(salt)) == 64
        assert aes_ctr(key, base64.b64decode(nonce), sealed) == bytes(16) + b"u 1,7,20260102"


def test_a_round_trip_through_the_thesis_format(tmp_path: Path) -> None:
    writer = ThesisWriter(tmp_path / "set", TOKEN.encode(), Pbkdf2Cost("sha256", 2, 3), ("uuid",))
    values = {
        "domain": "listed.example",
        "url": "hxxp://www.files[.]example/a/index.php?",
        "ip-dst|port": "2001:db8::7|443",
        "filename|sha256": f"a|b.exe|{'0A' * 32}",
        "regkey|value": "HKLM\\Run|c:\\x.exe|y",
        "malware-sample": f"x.exe|{'ab' * 16}",
        "email-src": "Someone@listed.example",
    }
    for kind, value in values.items():
        writer.add(Attribute(type=kind, value=value, uuid=f"of {kind}"))
    writer.finish()
    queries = {
        "domain=LISTED.example": "of domain",
        "url=https://files.example/a/": "of url",
        "ip-dst|port=2001:DB8:0::7|443": "of ip-dst|port",
        f"filename|sha256=a|b.exe|{'0a' * 32}": "of filename|sha256",
        "regkey|value=HKLM\\Run|c:\\x.exe|y": "of regkey|value",
        f"malware-sample=x.exe|{'ab' * 16}": "of malware-sample",
        "email-src=someone@listed.example": "of email-src",
    }
    assert messages(opened(tmp_path / "set"), queries) == queries


@pytest.mark.slow
def test_the_command_matches_arguments_files_and_standard_input(
    tmp_path: Path, config: Path
) -> None:
    folder = thesis_folder(tmp_path / "set", "pbkdf2")
    done = run(config, "match", "--foreign", folder, *QUERIES, *UNLISTED)
    assert done.returncode == 0, done.stderr
    assert {
        line.split("\t")[0]: line.split("\t")[2] for line in done.stdout.splitlines()
    } == QUERIES
    assert "each with its own salt" in done.stderr
    lines = "# seen\n\nip-dst\t198.51.100.66\ndomain\tunlisted.example\n"
    done = run(config, "match", "--foreign", folder, "--json", given=lines)
    assert json.loads(done.stdout)["message"] == "uuid-2,7,20260101"
    (tmp_path / "values").write_text("domain\tunlisted.example\n")
    done = run(config, "match", "--foreign", folder, "--values", tmp_path / "values")
    assert (done.returncode, done.stdout) == (1, "")
    done = run(config, "match", "--foreign", folder, given="domain listed.example\n")
    assert done.returncode == 2
    assert "standard input:1: is not a type and a value; write TYPE<TAB>VALUE" in done.stderr


@pytest.mark.slow
def test_one_refused_value_does_not_end_the_batch(tmp_path: Path, config: Path) -> None:
    folder = thesis_folder(tmp_path / "set", "pbkdf2")
    listed = "domain=listed.example"
    given = ("domain|ip=only.example", listed, "hostnam=listed.example", "md5=")
    done = run(config, "match", "--foreign", folder, *given)
    assert done.returncode == 2
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [listed]
    said = [line for line in done.stderr.splitlines() if "not read" in line]
    assert [line.split(": ")[2] for line in said] == ["argument 1", "argument 3", "argument 4"]
    assert "do you mean hostname?" in said[1]
    # No argument that could be read is not the same as none: standard input is not waited for.
    done = run(config, "match", "--foreign", folder, "hostnam=x", given=f"{listed}\n")
    assert (done.returncode, done.stdout) == (2, "")
    lines = [
        "swapped.example\tdomain",
        "nothing",
        "domain\t" + "x" * 40_000,
        "domain\tlisted.example",
    ]
    lines += ["nothing"] * 30
    done = run(config, "match", "--foreign", folder, given="\n".join(lines))
    assert done.returncode == 2
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [listed]
    said = [line for line in done.stderr.splitlines() if "not read" in line]
    assert [line.split(": ")[2] for line in said[:4]] == [
        *(f"standard input:{number}" for number in (1, 2, 3, 5)),
    ]
    assert (len(said), "13 more" in said[-1]) == (21, True)
    assert "swapped" not in "".join(said)


def test_the_command_takes_a_partners_token_from_a_file(tmp_path: Path, config: Path) -> None:
    folder = thesis_folder(tmp_path / "set", "sha256")
    (tmp_path / "token").write_text("ours-kF9xQ2pL7vB3nM8w\n")
    (tmp_path / "theirs").write_text(TOKEN)
    query = "domain=listed.example"
    assert run(config, "match", "--foreign", folder, query).returncode == 1
    theirs = tmp_path / "theirs"
    done = run(config, "match", "--foreign", folder, "--token-file", theirs, query)
    assert done.returncode == 0


def test_a_batch_that_would_take_too_long_is_refused_beforehand(
    tmp_path: Path, config: Path
) -> None:
    folder = thesis_folder(tmp_path / "set", "bcrypt")
    done = run(config, "match", "--foreign", folder, "--at-most", "0.0000001", *QUERIES)
    assert done.returncode == 2
    assert "this batch would take about" in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_exporting_seals_what_a_refresh_would_seal(installation: Installation) -> None:
    installation.add(
        "listed",
        attribute("domain", "listed.example", uuid="uuid-of-it"),
        attribute("domain", "unwanted.example", to_ids=False),
        attribute("ip-dst", "198.51.100.66"),
        attribute("sha512/256", "ab" * 32),
        attribute("domain", "not a name"),
        attribute("url", "http://files.example/x?b=2&a=1"),
    )
    folder = installation.folder / "partner"
    done = installation.run(
        "inkgate-rules", "export-foreign", "--format", "thesis-pbkdf2", "--iterations", "2",
        str(folder),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in folder.iterdir()) == [
        "domain.tsv", "ip-dst.tsv", "metadata", "url.tsv",
    ]  # fmt: skip
    assert "4  rules in" in done.stdout
    assert "refused: 1" in done.stderr
    assert "left out: 1 (a type that the thesis's matcher cannot read" in done.stderr
    one = installation.folder / "one"
    done = installation.run(
        "inkgate-rules", "export-foreign", "--format", "thesis-pbkdf2", "--url-normalize", "1.4",
        str(one),
    )  # fmt: skip
    assert (done.returncode, "3  rules in" in done.stdout) == (0, True), done
    done = installation.run(
        "inkgate-rules", "match", "--foreign", str(folder),
        "domain=listed.example", "domain=unwanted.example",
    )  # fmt: skip
    assert done.stdout == "domain=listed.example\tdomain\tuuid-of-it,7,20260101\n"
    again = installation.run(
        "inkgate-rules", "export-foreign", "--format", "thesis-pbkdf2", str(folder)
    )
    assert again.returncode == 2
    assert "is not empty; name a new folder" in again.stderr
