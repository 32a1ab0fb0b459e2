"""Rules of the paper's proof of concept: one INI file a rule, named *.rule, without a token."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from inkgate.config.printable import printable
from inkgate.rules.crypto.profiles import Caps
from inkgate.rules.foreign.derivations.hkdf import HkdfKey
from inkgate.rules.foreign.derivations.pbkdf2 import CAP, Pbkdf2Key
from inkgate.rules.foreign.errors import ForeignError, Unread
from inkgate.rules.foreign.files import files_in
from inkgate.rules.foreign.ini import Ini
from inkgate.rules.foreign.rule import (
    BLOCK,
    MAX_ATTRIBUTES,
    MAX_SALT,
    ForeignRules,
    KeyDerivation,
    SealedRule,
)
from inkgate.rules.foreign.spelling import paper_spellings

SUFFIX: Final = ".rule"
SEPARATOR: Final = ","


def read_paper_rules(where: Path, caps: Caps) -> ForeignRules:
    """Read one rule file, or all *.rule files of a folder.

    A file that cannot be used is left out and noted in `unread`.

    Raises:
        ForeignError: none of them is in the format and cheap enough.
    """
    names = files_in(where) if where.is_dir() else []
    paths = [where / n for n in names if n.endswith(SUFFIX)] if names else [where]
    unread = Unread()
    rules: list[SealedRule] = []
    for path in paths:
        try:
            rules.append(_rule(path, caps))
        except ForeignError as error:
            unread.add(error)
    if unread.first and not rules:
        raise unread.first[0]
    return ForeignRules(
        name="paper",
        where=where,
        separator=SEPARATOR,
        rules=tuple(rules),
        spellings=paper_spellings,
        ignored=tuple(printable(n) for n in names if not n.endswith(SUFFIX)),
        unread=unread,
    )


def _rule(path: Path, caps: Caps) -> SealedRule:
    ini = Ini(path)
    section = next((name for name in ("hkdf", "pbkdf2") if ini.has(name)), None)
    if section is None:
        raise ForeignError(
            path, None, "has neither [hkdf] nor [pbkdf2]", "name a rule file, or a rule folder"
        )
    attributes = tuple(ini.text("ioc", "attributes").split(SEPARATOR))
    if len(attributes) > MAX_ATTRIBUTES or not all(attributes):
        raise ini.wrong("attributes", "are impossible")
    # In these rules the check block is the beginning of the ciphertext; in the thesis's rules
    # it has a field of its own.
    ciphertext = ini.decoded("ioc", "ciphertext", least=BLOCK)
    return SealedRule(
        attributes=attributes,
        salt=ini.decoded(section, "salt", least=1, most=MAX_SALT),
        nonce=ini.decoded("ioc", "iv", least=BLOCK, most=BLOCK),
        check=ciphertext[:BLOCK],
        ciphertext=ciphertext[BLOCK:],
        derivations=(_derivation(ini, section, caps),),
        place=printable(path.name),
        info=ini.text("ioc", "id").encode(),
    )


def _derivation(ini: Ini, section: str, caps: Caps) -> KeyDerivation:
    hash_name = ini.hash_name(section)
    length = ini.key_length(section)
    if section == "pbkdf2":
        iterations = ini.number(section, "iterations", caps.pbkdf2_iterations, CAP)
        if iterations > 1:
            return Pbkdf2Key(hash_name, iterations, length, b"")
    # The paper's tool uses HKDF for one iteration, also in a section [pbkdf2].
    return HkdfKey(hash_name, length)
