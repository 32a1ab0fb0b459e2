"""A generation: an installed rule set, compiled once and never changed.

An LMDB file holds the rules (key: class number and tag; value: nonce and
ciphertext); the gates are plain bitmaps. Both are mapped to memory, so many
helpers share one copy and a set of any size opens in the same time.

Reading a mapped page that was cut off ends the process (SIGBUS). So before each access the
file is asked for its size: one that was cut off is damaged, and kills nobody.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import lmdb

from inkgate.config.whole_file import naming, writing_new
from inkgate.rules.crypto.derive import gate_info, gate_number
from inkgate.rules.crypto.gates import Gate
from inkgate.rules.crypto.lmdb_file import is_whole, whole_bytes
from inkgate.rules.crypto.profiles import Caps
from inkgate.rules.crypto.sealing import NONCE_BYTES, Rule
from inkgate.rules.errors import PackError
from inkgate.rules.pack.files import (
    MANIFEST,
    SIGNATURE,
    gate_path,
    read_gate,
    read_rules,
    read_small,
    rule_path,
)
from inkgate.rules.pack.manifest import Manifest, parse_manifest

RULES: Final = "rules.mdb"
SUMS: Final = "sha256sums"
# Read by the proxy's group, as the token is.
FOLDER_MODE: Final = 0o2750
FILE_MODE: Final = 0o640
_BATCH: Final = 50_000


def compile_generation(pack: Path, manifest: Manifest, folder: Path) -> None:
    """Compile a verified pack into an empty folder and flush it to disk.

    Raises:
        PackError: `bad-rules`, if a row does not parse or a count is not right.
    """
    content = sum(file.size for file in manifest.classes.values())
    # LMDB needs a largest size beforehand. Rows are larger in base64 than in the file; the
    # factor 2 and 256 bytes a rule leave room for LMDB's pages.
    size = content * 2 + manifest.rule_count() * 256 + (1 << 20)
    # Made here, since LMDB would make it with a mode that the umask decides; it accepts an
    # empty file as a new one.
    with writing_new(folder / RULES, FILE_MODE):
        pass
    path = folder / RULES
    with naming(path), lmdb.open(str(path), map_size=size, subdir=False, lock=False) as env:
        for number, name in enumerate(sorted(manifest.classes)):
            count = _load_class(env, number, read_rules(rule_path(pack, name)))
            if count != manifest.classes[name].rules:
                raise PackError("bad-rules", f"{name} has {count} rules", "get the pack again")
        env.sync(True)
    for level, entry in manifest.gates.items():
        with writing_new(folder / f"{level}.gate", FILE_MODE) as file:
            file.write(read_gate(gate_path(pack, level), entry.bits))
    for name in (MANIFEST, SIGNATURE):
        with writing_new(folder / name, FILE_MODE) as file:
            file.write(read_small(pack / name))
    with writing_new(folder / SUMS, FILE_MODE) as file:
        file.write(_sums(folder))


def _load_class(env: lmdb.Environment, number: int, rules: Iterator[Rule]) -> int:
    prefix = number.to_bytes(2)
    count = 0
    txn = env.begin(write=True)
    try:
        for rule in rules:
            txn.put(prefix + rule.tag, rule.nonce + rule.ciphertext, append=True)
            count += 1
            if count % _BATCH == 0:
                txn.commit()
                txn = env.begin(write=True)
        txn.commit()
    except BaseException:
        txn.abort()
        raise
    return count


class Generation:
    """An open generation.

    Args:
        folder: where `compile_generation` put it.
        caps: the most that its KDF profiles may cost.

    Raises:
        PackError: it cannot be read, or its manifest is not sound.
    """

    def __init__(self, folder: Path, caps: Caps) -> None:
        self.folder = folder
        self.manifest = parse_manifest(read_small(folder / MANIFEST), caps)
        self._prefixes = {n: i.to_bytes(2) for i, n in enumerate(sorted(self.manifest.classes))}
        try:
            self._env = lmdb.open(
                str(folder / RULES),
                subdir=False,
                readonly=True,
                # A generation is never written to, so no lock is needed. Without LMDB's lock
                # file a reader needs no permission to write.
                lock=False,
                create=False,
                max_readers=1,
            )
        except (lmdb.Error, OSError) as error:
            raise _unusable(error) from None
        if not is_whole(self._env, folder / RULES):
            self._env.close()
            raise _unusable(OSError(errno.EIO, "the file is cut off"))
        self._rules_bytes = whole_bytes(self._env)
        try:
            self._rules = _mapped(folder / RULES)
            self._gates = {level: self._open_gate(level) for level in self.manifest.gates}
        except (OSError, ValueError) as error:
            # LMDB allows a process to open a file only once at a time, and the next try opens
            # it again.
            self._env.close()
            raise _unusable(error) from None

    def close(self) -> None:
        """Unmap everything. The generation must not be used afterwards."""
        for _, _, mapped in self._gates.values():
            mapped.close()
        self._gates.clear()
        self._env.close()
        self._rules.close()

    def find(self, indicator_class: str, tag: bytes) -> Rule | None:
        """The rule with this class and tag. The class must be one of the manifest's.

        Raises:
            PackError: `bad-rules`, if the file was cut off since it was opened.
        """
        if self._rules.size() < self._rules_bytes:
            raise _cut_off(RULES)
        with self._env.begin() as txn:
            value = txn.get(self._prefixes[indicator_class] + tag)
        return None if value is None else Rule(tag, value[:NONCE_BYTES], value[NONCE_BYTES:])

    def gate_passes(self, level: str, stretched: bytes) -> bool:
        """Whether a value may be listed; True when the set has no such gate.

        Raises:
            PackError: `bad-rules`, if the file was cut off since it was opened.
        """
        entry = self._gates.get(level)
        if entry is None:
            return True
        gate, info, mapped = entry
        if mapped.size() < len(mapped):
            raise _cut_off(f"{level}.gate")
        return gate.passes(gate_number(stretched, info))

    def _open_gate(self, level: str) -> tuple[Gate, bytes, mmap.mmap]:
        mapped = _mapped(self.folder / f"{level}.gate")
        if len(mapped) * 8 != self.manifest.gates[level].bits:
            raise ValueError(f"{level}.gate has the wrong size")
        return Gate(mapped), gate_info(level), mapped


def _mapped(path: Path) -> mmap.mmap:
    """A file mapped to memory. It knows the file's present size, and closes itself."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def is_sound(folder: Path) -> bool:
    """Whether the files of a generation are still what was compiled, to the last byte."""
    try:
        return (folder / SUMS).read_bytes() == _sums(folder)
    except OSError:
        return False


def _sums(folder: Path) -> bytes:
    """Digests of the compiled files, as sha256sum prints them."""
    lines = []
    for path in sorted((folder / RULES, *folder.glob("*.gate"))):
        with path.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n")
    return "".join(lines).encode()


def _unusable(error: Exception) -> PackError:
    return PackError(
        "bad-rules", f"the generation cannot be opened ({error})", "refresh the rule set"
    )


def _cut_off(name: str) -> PackError:
    return PackError("bad-rules", f"{name} was cut off while in use", "refresh the rule set")
