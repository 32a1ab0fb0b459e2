"""A refresh: read the sources, seal what is new, publish the pack, install it here.

The steps leave nothing half done: a pack and a generation each appear by one
rename, and whatever was there before works until then.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec

from rules.derive import Deriver, derive_set_key, token_check
from rules.indicators import Collection, Refusal
from rules.install import (
    install_pack,
    installed_serial,
    swap_link,
    sync_folder,
    verify_pack,
)
from rules.kdf import DEFAULT_PROFILES, PROFILES
from rules.keycache import KeyCache
from rules.keys import read_public_key, read_signing_key, read_token
from rules.lastgood import LastGood
from rules.manifest import FORMAT, Manifest, parse_manifest, sign_manifest, verify_signature
from rules.pack import (
    MANIFEST,
    SIGNATURE,
    read_rules,
    read_small,
    rule_path,
    write_gate,
    write_manifest,
    write_rules,
    write_signature,
)
from rules.sealer import Sealed, derivations, seal_all, stretch_all
from rules.sealing import Rule
from rules.settings import RulesSettings, resolve
from rules.sources.files import find_files
from rules.sources.unreadable import Unreadable

PACK: Final = "pack"
_PUBLISHER_CACHE_BYTES: Final = 64 << 30  # sparse: the file grows with what is in it


class RefreshError(Exception):
    """A refresh that changed nothing; says why and what to do."""


class Progress(Protocol):
    """What a refresh tells about itself while it runs."""

    def start(self, total: int) -> None:
        """The number of derivations is known."""

    def advance(self, count: int) -> None:
        """So many more are done."""


class Summary(NamedTuple):
    """What a refresh did."""

    read: int
    skipped: dict[str, int]
    refused: list[Refusal]
    unreadable: list[Unreadable]
    derived: int
    new: int
    resealed: int
    removed: int
    rules: int
    serial: int
    published: bool
    seconds: float


class Places(NamedTuple):
    """The folders and files of the `[rules]` section, resolved."""

    sources: list[Path]
    publisher: Path
    installed: Path
    token_file: Path
    public_key_file: Path
    key_cache: Path


def places(config: Path, settings: RulesSettings) -> Places:
    """Resolve the section's paths against the settings file's folder."""
    return Places(
        [resolve(config, source) for source in settings.sources],
        resolve(config, settings.publisher),
        resolve(config, settings.installed),
        resolve(config, settings.token_file),
        resolve(config, settings.public_key_file),
        resolve(config, settings.key_cache),
    )


def refresh(
    config: Path, settings: RulesSettings, progress: Progress, *, allow_empty: bool = False
) -> Summary:
    """Bring the installed rules up to date with the sources.

    Raises:
        RefreshError, KeyFileError, PackError, Unreadable, OSError: nothing was changed.
    """
    started = time.monotonic()
    where = places(config, settings)
    if not where.sources:
        raise RefreshError(f"{config}: [rules] sources is empty; name files or folders to read")
    token = read_token(where.token_file)
    where.publisher.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _only_one(where.publisher):
        collection, unreadable = _collect(where, settings)
        old = _last_pack(where, settings)
        if not collection.indicators and not allow_empty:
            raise RefreshError(
                "the sources hold no indicator that can be sealed; nothing was changed "
                "(use --allow-empty if that is right)"
                + "".join(f"\n  not read: {fault}" for fault in unreadable)
            )
        base = _next_manifest(old, settings, token)
        sealed, derived = _seal(collection, base, old, where, token, settings, progress)
        removed = _removed(old, sealed)
        changed = bool(sealed.new or sealed.resealed or removed or _due(old, base, settings))
        if changed or old is None:
            pack = _publish(where, base, sealed)
        else:
            pack, base = where.publisher / PACK, old.manifest
        _install(pack, where, settings, token)
    return Summary(
        read=collection.read,
        skipped=dict(collection.skipped),
        refused=collection.refused,
        unreadable=unreadable,
        derived=derived,
        new=sealed.new,
        resealed=sealed.resealed,
        removed=removed,
        rules=sum(map(len, sealed.rules.values())),
        serial=base.serial,
        published=changed,
        seconds=time.monotonic() - started,
    )


class _OldPack(NamedTuple):
    manifest: Manifest
    rules: dict[str, dict[bytes, Rule]]


@contextlib.contextmanager
def _only_one(publisher: Path) -> Iterator[None]:
    fd = os.open(publisher / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RefreshError("another refresh is running; wait for it, or stop it") from None
        yield
    finally:
        os.close(fd)


def _collect(where: Places, settings: RulesSettings) -> tuple[Collection, list[Unreadable]]:
    collection = Collection(settings.message, domain_ip_by_domain=settings.domain_ip_by_domain)
    last_good = LastGood(where.publisher / "last-good")
    unreadable: list[Unreadable] = []
    files = find_files(where.sources)
    for path in files:
        attributes, fault = last_good.read(path)
        collection.add_all(attributes)
        if fault:
            unreadable.append(fault)
    last_good.forget_others(files)
    return collection, unreadable


def _last_pack(where: Places, settings: RulesSettings) -> _OldPack | None:
    pack = where.publisher / PACK
    if not pack.exists():
        return None
    data = read_small(pack / MANIFEST)
    verify_signature(data, read_small(pack / SIGNATURE), read_public_key(where.public_key_file))
    manifest = parse_manifest(data, settings.caps)
    rules = {
        name: {rule.tag: rule for rule in read_rules(rule_path(pack, name))}
        for name in manifest.classes
    }
    return _OldPack(manifest, rules)


def _next_manifest(old: _OldPack | None, settings: RulesSettings, token: bytes) -> Manifest:
    """The new manifest without its files; a new epoch if token or profiles changed."""
    profiles = {
        kind: PROFILES[settings.profiles.get(kind, name)] for kind, name in DEFAULT_PROFILES.items()
    }
    now = datetime.now(UTC).replace(microsecond=0)
    same_epoch = old is not None and old.manifest.profiles == profiles and _opens(old, token)
    if old is not None and same_epoch:
        set_id, set_salt = old.manifest.set_id, old.manifest.set_salt
    else:
        set_id, set_salt = os.urandom(16).hex(), base64.b64encode(os.urandom(32)).decode()
    set_key = derive_set_key(token, base64.b64decode(set_salt))
    return Manifest(
        format=FORMAT,
        set_id=set_id,
        set_salt=set_salt,
        token_check=base64.b64encode(token_check(set_key)).decode(),
        subscriber=settings.subscriber,
        serial=old.manifest.serial + 1 if old else 1,
        created=now,
        expires=now + timedelta(days=settings.expires_days),
        profiles=profiles,
        epsilon=settings.epsilon,
        prefixes={},
        classes={},
        gates={},
    )


def _opens(old: _OldPack, token: bytes) -> bool:
    check = token_check(derive_set_key(token, old.manifest.set_salt_bytes()))
    return base64.b64encode(check).decode() == old.manifest.token_check


def _seal(
    collection: Collection,
    base: Manifest,
    old: _OldPack | None,
    where: Places,
    token: bytes,
    settings: RulesSettings,
    progress: Progress,
) -> tuple[Sealed, int]:
    deriver = Deriver(derive_set_key(token, base.set_salt_bytes()), base.profiles)
    cache = KeyCache(where.publisher / "derived", base.set_id, _PUBLISHER_CACHE_BYTES)
    try:
        wanted = derivations(collection.indicators)
        progress.start(len(wanted))
        stretched, derived = stretch_all(wanted, deriver, cache, progress.advance)
    finally:
        cache.close()
    same_epoch = old is not None and old.manifest.set_id == base.set_id
    sealed = seal_all(
        collection.indicators,
        stretched,
        set_id=base.set_id_bytes(),
        action=settings.action,
        epsilon=settings.epsilon,
        previous=old.rules if old is not None and same_epoch else {},
    )
    return sealed, derived


def _removed(old: _OldPack | None, sealed: Sealed) -> int:
    if old is None:
        return 0
    return sum(
        len(rules.keys() - {rule.tag for rule in sealed.rules.get(name, ())})
        for name, rules in old.rules.items()
    )


def _due(old: _OldPack | None, base: Manifest, settings: RulesSettings) -> bool:
    """Whether the old manifest must be replaced although its rules are the same."""
    if old is None:
        return True
    manifest = old.manifest
    half = timedelta(days=settings.expires_days) / 2
    return (
        manifest.expires - base.created < half
        or manifest.set_id != base.set_id
        or manifest.epsilon != base.epsilon
        or manifest.subscriber != base.subscriber
    )


def _publish(where: Places, base: Manifest, sealed: Sealed) -> Path:
    key = read_signing_key(where.publisher)
    packs = where.publisher / "packs"
    packs.mkdir(mode=0o700, parents=True, exist_ok=True)
    for stale in packs.glob(".new-*"):
        shutil.rmtree(stale, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=".new-", dir=packs))
    classes = {name: write_rules(work, name, rules) for name, rules in sealed.rules.items()}
    gates = {level: write_gate(work, level, bitmap) for level, bitmap in sealed.gates.items()}
    manifest = msgspec.structs.replace(base, prefixes=sealed.prefixes, classes=classes, gates=gates)
    write_signature(work, sign_manifest(write_manifest(work, manifest), key))
    for folder in (work / "rules", work / "gates", work):
        if folder.exists():
            sync_folder(folder)
    final = packs / f"{manifest.serial:010d}"
    if final.exists():
        shutil.rmtree(final)
    work.rename(final)
    swap_link(where.publisher / PACK, final)
    for old in sorted(p for p in packs.iterdir() if p != final)[:-1]:
        shutil.rmtree(old, ignore_errors=True)
    return final


def _install(pack: Path, where: Places, settings: RulesSettings, token: bytes) -> None:
    manifest = verify_pack(
        pack,
        key=read_public_key(where.public_key_file),
        caps=settings.caps,
        token=token,
        now=datetime.now(UTC),
        installed=installed_serial(where.installed, settings.caps),
    )
    install_pack(pack, manifest, where.installed)
