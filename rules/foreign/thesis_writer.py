"""Writing the thesis's pbkdf2 format, for partners who match with its tools.

One rule per attribute and spelling, each under its own random salt, as its own code would
make it. Nearly all attributes have one spelling.
"""

from __future__ import annotations

import base64
import configparser
import io
import re
import secrets
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from inkgate.config.modes import make_folder
from inkgate.config.whole_file import write_whole, writing_new
from inkgate.rules.canonical import Refused
from inkgate.rules.foreign.derivations.pbkdf2 import Pbkdf2Format, Pbkdf2Key
from inkgate.rules.foreign.errors import ForeignError
from inkgate.rules.foreign.rule import BLOCK, SealedRule
from inkgate.rules.foreign.thesis import COLUMNS, JOKER, METADATA, SEPARATOR
from inkgate.rules.foreign.thesis_values import thesis_values
from inkgate.rules.foreign.url_versions import VERSIONS
from inkgate.rules.sources.attribute import Attribute

_SALT_BYTES: Final = {"sha256": 32, "sha384": 48, "sha512": 64}
KEY_BYTES: Final = 32
# The thesis's matcher reads the types from the file name: the part before the first dot,
# split at `_`.
_TYPE: Final = re.compile(r"[A-Za-z0-9 -]+(?:\|[A-Za-z0-9 -]+)*", re.ASCII)
_MAX_FILES: Final = 500
_FILE_MODE: Final = 0o640


class Pbkdf2Cost(NamedTuple):
    """Hash and iterations; addresses have their own."""

    hash_name: str = "sha256"
    iterations: int = 1000
    ipiterations: int = 1000


class ThesisWriter:
    """Writes a rule folder. Attributes go in one by one, then `finish`.

    Args:
        folder: made if need be; must be empty.
        fields: what a message tells, joined by commas.
        versions: of url-normalize that the partner may have; keys of `VERSIONS`.

    Attributes:
        written: rules, by type.
        left_out: attributes that the format cannot hold, by reason.

    Raises:
        ForeignError: the folder is not empty.
    """

    def __init__(
        self,
        folder: Path,
        token: bytes,
        cost: Pbkdf2Cost,
        fields: tuple[str, ...],
        versions: Iterable[str] = tuple(VERSIONS),
    ) -> None:
        self._folder = folder
        self._versions = tuple(versions)
        self._cost = cost
        self._fields = fields
        usual, with_ip = (
            Pbkdf2Key(cost.hash_name, n, KEY_BYTES, token)
            for n in (cost.iterations, cost.ipiterations)
        )
        self._format = Pbkdf2Format(usual, with_ip)
        self._files: dict[tuple[str, ...], BinaryIO] = {}
        self._writing = ExitStack()
        self.written: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        make_folder(folder, 0o750)
        if any(folder.iterdir()):
            raise ForeignError(folder, None, "is not empty", "name a new folder")

    def add(self, attribute: Attribute) -> None:
        """Seal one attribute; what the format cannot hold is counted in `left_out`."""
        if not _TYPE.fullmatch(attribute.type) or attribute.type == JOKER:
            self.left_out["a type that the thesis's matcher cannot read from a file name"] += 1
            return
        try:
            spellings = thesis_values(attribute, self._versions)
        except Refused as refused:
            self.left_out[refused.reason] += 1
            return
        names = tuple(spellings[0])
        if names not in self._files and len(self._files) == _MAX_FILES:
            self.left_out[f"a type beyond {_MAX_FILES} others"] += 1
            return
        message = ",".join(_field(attribute, name) for name in self._fields)
        for values in spellings:
            password = SEPARATOR.join(values.values()).encode()
            self._file(names).write(self._row(names, password, message.encode()).encode())
        self.written[attribute.type] += len(spellings)

    def finish(self) -> None:
        """Write the metadata, last: a folder without them is not a rule set."""
        self._writing.close()
        metadata = configparser.RawConfigParser()
        metadata["crypto"] = {
            "name": "pbkdf2",
            "hash_name": self._cost.hash_name,
            "dklen": str(KEY_BYTES),
            "iterations": str(self._cost.iterations),
            "ipiterations": str(self._cost.ipiterations),
        }
        text = io.StringIO(newline="")
        metadata.write(text)
        write_whole(self._folder / METADATA, text.getvalue().encode(), _FILE_MODE)

    def _row(self, names: tuple[str, ...], password: bytes, message: bytes) -> str:
        salt = secrets.token_bytes(_SALT_BYTES[self._cost.hash_name])
        nonce = secrets.token_bytes(BLOCK)
        (derivation,) = self._format.derivations(names)
        rule = SealedRule(names, salt, nonce, b"", b"", (derivation,), "")
        stream = Cipher(AES(derivation.key(password, rule)), CTR(nonce)).encryptor()
        check, ciphertext = stream.update(bytes(BLOCK)), stream.update(message)
        cells = (_b64(salt), SEPARATOR.join(names), _b64(nonce), _b64(check), _b64(ciphertext))
        return "\t".join(cells) + "\r\n"

    def _file(self, names: tuple[str, ...]) -> BinaryIO:
        file = self._files.get(names)
        if file is None:
            path = self._folder / ("_".join(names) + ".tsv")
            file = self._writing.enter_context(writing_new(path, _FILE_MODE))
            file.write(("\t".join(COLUMNS) + "\r\n").encode())
            self._files[names] = file
        return file


def _field(attribute: Attribute, name: str) -> str:
    text = str(getattr(attribute, name))
    # The thesis writes dates as 20260101, and separates fields with commas.
    return text.replace("-", "") if name == "date" else text.replace(",", " ")


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
