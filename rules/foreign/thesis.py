"""Rule folders of Jacquet's thesis: INI `metadata`, one TSV file per type, maybe `joker`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from inkgate.config.printable import printable
from inkgate.rules.crypto.profiles import Caps
from inkgate.rules.foreign.bloom_filter import TokenFilter, read_bloom_filter
from inkgate.rules.foreign.derivations.bcrypt_pbkdf import bcrypt_format
from inkgate.rules.foreign.derivations.hkdf import hkdf_format
from inkgate.rules.foreign.derivations.pbkdf2 import pbkdf2_format
from inkgate.rules.foreign.derivations.sha import NAMES, sha_format
from inkgate.rules.foreign.errors import ForeignError, Unread
from inkgate.rules.foreign.files import files_in, lines_of
from inkgate.rules.foreign.ini import Ini, decode_base64
from inkgate.rules.foreign.rule import (
    BLOCK,
    MAX_ATTRIBUTES,
    MAX_RULES,
    MAX_SALT,
    ForeignRules,
    RuleFormat,
    SealedRule,
)
from inkgate.rules.foreign.spelling import thesis_spellings

METADATA: Final = "metadata"
JOKER: Final = "joker"
COLUMNS: Final = ("salt", "attributes", "nonce", "ciphertext-check", "ciphertext")
SEPARATOR: Final = "||"
BLOOM: Final = "bloom_filter"
BLOOMY: Final = "bloomy_"
_MAX_ROW: Final = 98_304
_MAX_NAME: Final = 64
_AGAIN: Final = "ask for the rules again"

ReadFormat = Callable[[Ini, bytes, Caps], RuleFormat]


def _sha(name: str) -> ReadFormat:
    return lambda _metadata, token, _caps: sha_format(name, token)


# Formats by the module name that the metadata have.
_FORMATS: Final[dict[str, ReadFormat]] = {
    "pbkdf2": pbkdf2_format,
    "bcrypt": bcrypt_format,
    "hkdf": lambda _metadata, token, _caps: hkdf_format(token),
    **{name: _sha(name) for name in NAMES},
}


def read_thesis_folder(folder: Path, token: bytes, caps: Caps) -> ForeignRules:
    """Read all of a rule folder.

    A row or file that cannot be used is left out and noted in `unread`.

    Raises:
        ForeignError: the metadata, the filter or all rows are not in the format, or too dear.
    """
    metadata = Ini(folder / METADATA)
    name = metadata.text("crypto", "name").lower()
    module = name.removeprefix(BLOOMY)
    names = [n for n in files_in(folder) if n not in (METADATA, JOKER)]
    has_filter = name != module or name == BLOOM
    rules: list[SealedRule] = []
    unread = Unread()
    if name != BLOOM:
        make = _FORMATS.get(module)
        if make is None:
            known = ", ".join((*_FORMATS, BLOOM, BLOOMY + "…"))
            raise metadata.wrong("name", "names an unknown module", f"known are {known}")
        rules = _rules(folder, names, make(metadata, token, caps), unread)
    return ForeignRules(
        name=f"thesis {name}",
        where=folder,
        separator=SEPARATOR,
        rules=tuple(rules),
        spellings=thesis_spellings,
        filter=TokenFilter(read_bloom_filter(folder / JOKER), token) if has_filter else None,
        # Beside its Bloom filter the thesis's code writes a file joker.tsv without rules.
        ignored=tuple(printable(n) for n in names if not n.endswith(".tsv")),
        unread=unread,
    )


def _rules(folder: Path, names: list[str], kind: RuleFormat, unread: Unread) -> list[SealedRule]:
    rules: list[SealedRule] = []
    for name in names:
        if name.endswith(".tsv") and name != f"{JOKER}.tsv":
            for rule in _rows(folder / name, kind, unread):
                rules.append(rule)
                if len(rules) > MAX_RULES:
                    raise ForeignError(folder, None, f"has over {MAX_RULES:,} rules", "split it")
    if unread.first and not rules:
        raise unread.first[0]
    return rules


def _rows(path: Path, kind: RuleFormat, unread: Unread) -> Iterator[SealedRule]:
    columns: tuple[str, ...] = ()
    try:
        for number, line in lines_of(path, _MAX_ROW):
            if not columns:
                columns = _header(path, number, line)
            elif line:
                try:
                    yield _rule(path, number, line.split("\t"), columns, kind)
                except ForeignError as error:
                    unread.add(error)
    except ForeignError as error:
        # There is nothing to be read behind a wrong header or a line without an end.
        unread.add(error)


def _header(path: Path, number: int, line: str) -> tuple[str, ...]:
    columns = tuple(line.split("\t"))
    if sorted(columns) != sorted(COLUMNS):
        raise ForeignError(path, number, f"is not the header {' '.join(COLUMNS)}", _AGAIN)
    return columns


def _rule(
    path: Path, number: int, cells: list[str], columns: tuple[str, ...], kind: RuleFormat
) -> SealedRule:
    if len(cells) != len(columns):
        raise ForeignError(path, number, f"has not {len(columns)} columns", _AGAIN)
    row = dict(zip(columns, cells, strict=True))
    attributes = tuple(row["attributes"].split(SEPARATOR))
    if len(attributes) > MAX_ATTRIBUTES or not all(0 < len(a) <= _MAX_NAME for a in attributes):
        raise ForeignError(path, number, "has impossible attributes", _AGAIN)
    limits = {
        "salt": (1, MAX_SALT),
        "nonce": (BLOCK, BLOCK),
        "ciphertext-check": (BLOCK, BLOCK),
        "ciphertext": (0, _MAX_ROW),
    }
    decoded = []
    for column, (least, most) in limits.items():
        data = decode_base64(row[column])
        if data is None:
            raise ForeignError(path, number, f"{column} is not base64", _AGAIN)
        if not least <= len(data) <= most:
            raise ForeignError(path, number, f"{column} has {len(data)} bytes", _AGAIN)
        decoded.append(data)
    salt, nonce, check, ciphertext = decoded
    return SealedRule(
        attributes,
        salt,
        nonce,
        check,
        ciphertext,
        kind.derivations(attributes),
        f"{printable(path.name)}:{number}",
    )
