"""A refresh: read the sources, seal what is new, publish the pack, install it here.

A pack and a generation each appear by one rename. Until then the ones of before are in use,
also after a kill in any step.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from inkgate.config.errors import Unreadable
from inkgate.config.modes import make_folder
from inkgate.config.progress import Progress
from inkgate.config.whole_file import remove_unfinished
from inkgate.rules.canonical.classes import is_observed
from inkgate.rules.crypto.canaries import canaries
from inkgate.rules.crypto.keys import check_pair, read_public_key, read_signing_key
from inkgate.rules.crypto.profiles import check_profile
from inkgate.rules.errors import PackError, RefreshError
from inkgate.rules.install.install import check_files, install_pack, verify_pack
from inkgate.rules.install.serials import highest_of_all, highest_serial
from inkgate.rules.pack.files import MANIFEST, SIGNATURE, read_small
from inkgate.rules.pack.manifest import (
    FORMAT,
    MAX_SERIAL,
    MAX_SERIAL_STEP,
    Manifest,
    parse_manifest,
    verify_signature,
)
from inkgate.rules.paths import PUBLISHER_MODE, RulesPaths, rules_paths, writer_lock
from inkgate.rules.refresh.reading import Options, collect
from inkgate.rules.refresh.stages import Stage, Stages
from inkgate.rules.refresh.subscriber import Subscriber, find_subscriber
from inkgate.rules.refresh.time_limit import time_limit
from inkgate.rules.seal.epoch import EpochRecord, choose_epoch
from inkgate.rules.seal.padding import KnownRules, Padding, read_padding_key
from inkgate.rules.seal.partition import Epoch, SealCounts, Task
from inkgate.rules.seal.publish import PACK, last_serial, publish, published_content
from inkgate.rules.seal.runs import Run, open_run
from inkgate.rules.seal.workers import seal_partitions
from inkgate.rules.select.canary_records import canary_records
from inkgate.rules.select.indicators import Record
from inkgate.rules.select.network_lengths import Lengths, gated_lengths
from inkgate.rules.select.report import Report
from inkgate.rules.select.spool import Partition, Spool, portions
from inkgate.rules.select.type_names import check_type_names
from inkgate.rules.settings import RulesSettings
from inkgate.rules.sources.registry import read_entries

REPORT: Final = "last-refresh.tsv"
SEALED: Final = "sealed"


class Summary(NamedTuple):
    """What a refresh did.

    Attributes:
        unreadable: what could not be read; its last good reading counts.
        notes: what lies in the sources' folders and nobody reads.
        sealed: distinct values that became rules, without canaries and padding.
        unobserved: how many of them are of a type that no front end observes, by type.
        pieces: how many more records there were when networks had been split into some of
            fewer prefix lengths.
        rules: how many the pack has, canaries included.
        canaries: how many of them are canaries.
    """

    report: Report
    unreadable: list[Unreadable]
    notes: list[Unreadable]
    sealed: int
    unobserved: dict[str, int]
    pieces: int
    done: SealCounts
    rules: int
    canaries: int
    serial: int
    published: bool
    pack: Path
    seconds: float
    stages: list[Stage]

    @property
    def merged(self) -> int:
        """How many records joined that of another attribute with the same value."""
        return self.report.records + self.pieces - self.sealed

    def figures(self) -> dict[str, object]:
        """What became of all that was read: `read` is the sum of its parts.

        Each attribute, and each value of a line, was skipped (by reason), refused, screened
        (allow list, warninglists) or sealed. The records of those that were sealed, and the
        pieces of networks, were merged or are distinct values.
        """
        report = self.report
        return {
            "read": report.read,
            "more_of_one_line": report.more,
            "skipped": dict(sorted(report.skipped.items())),
            "refused": report.fates["refused"],
            "refused_by_reason": {
                reason: count
                for (outcome, reason), count in sorted(report.counts.items())
                if outcome == "refused"
            },
            "screened": report.fates["screened"],
            "sealed": report.fates["sealed"],
            "records": report.records,
            "pieces_of_networks": self.pieces,
            "merged": self.merged,
            "distinct": self.sealed,
            "unobserved": self.unobserved,
            "canaries": self.canaries,
            "rules": self.rules,
            "serial": self.serial,
            "not_read": [str(fault) for fault in self.unreadable],
            "remarks": report.remarks,
            "not_sources": [str(note) for note in self.notes],
        }


class _Job(NamedTuple):
    """What a refresh is given, with all that follows from it."""

    config: Path
    settings: RulesSettings
    options: Options
    where: RulesPaths
    subscriber: Subscriber
    stages: Stages


class _Sealed(NamedTuple):
    """What is sealed and not published yet; `pieces` as in `Summary`."""

    done: SealCounts
    runs: list[Run]
    parts: Sequence[Partition]
    known: KnownRules
    old: Manifest | None
    base: Manifest
    pieces: int

    @property
    def rows(self) -> Counter[str]:
        """How many rules there are of each class, without padding."""
        counts: Counter[str] = Counter()
        for run in self.runs:
            counts.update(run.header.rules)
        return counts


def refresh(
    config: Path, settings: RulesSettings, progress: Progress, options: Options | None = None
) -> Summary:
    """Bring the rules up to date with the sources, and install them here.

    Raises:
        RefreshError, SettingsError, KeyFileError, PackError, Unreadable, OSError: nothing
            was changed.
    """
    started = time.monotonic()
    options = options or Options()
    where = rules_paths(config, settings)
    if not settings.sources:
        raise RefreshError(f"{config}: [rules] sources is empty; name files or folders to read")
    entries = read_entries(config, settings.sources)
    check_type_names(config, settings)
    subscriber = find_subscriber(config, settings, where, options.subscriber)
    job = _Job(config, settings, options, where, subscriber, Stages(progress))
    # Before hours of work: what another key signs, nobody here and no proxy would take.
    check_pair(where.publisher, where.public_key_file)
    with time_limit(settings.refresh_seconds), writer_lock(where.publisher, PUBLISHER_MODE):
        make_folder(subscriber.workspace, PUBLISHER_MODE, parents=PUBLISHER_MODE)
        remove_unfinished(subscriber.workspace)
        report = Report(subscriber.workspace / REPORT)
        spool = Spool(where.publisher / "spool")
        try:
            faults = _collect(job, entries, spool, report)
            canary_set = canary_records(canaries(subscriber.token), spool.classes)
            sealed = _seal_all(job, spool, canary_set)
        finally:
            spool.remove()
            report.close()
        job.stages.start("publishing", None)
        pack, manifest, published = _publish(job, sealed)
        if options.subscriber is None:
            job.stages.start("installing", None)
            _install(pack, where, settings, subscriber.token, accept_older=options.accept_older)
    job.stages.end()
    return Summary(
        report=report,
        unreadable=[fault for fault in faults if not fault.is_note],
        notes=[fault for fault in faults if fault.is_note],
        sealed=sealed.rows.total() - len(canary_set),
        unobserved={n: count for n, count in sorted(sealed.rows.items()) if not is_observed(n)},
        pieces=sealed.pieces,
        done=sealed.done,
        rules=manifest.rule_count(),
        canaries=len(canary_set),
        serial=manifest.serial,
        published=published,
        pack=pack,
        seconds=time.monotonic() - started,
        stages=job.stages.ended,
    )


def _collect(
    job: _Job, entries: Sequence[str | msgspec.Struct], spool: Spool, report: Report
) -> list[Unreadable]:
    """Read and judge all sources; what could not be read.

    Raises:
        RefreshError: they hold nothing.
    """
    faults = collect(
        job.config,
        job.settings,
        entries,
        job.where,
        job.subscriber.select,
        spool,
        report,
        job.stages,
        job.options,
    )
    if spool.is_empty and not job.options.allow_empty:
        raise RefreshError(_nothing(faults))
    return faults


def _seal_all(job: _Job, spool: Spool, canary_set: Sequence[Record]) -> _Sealed:
    """Seal what was collected, and the canaries."""
    settings, subscriber = job.settings, job.subscriber
    spool.take(portions(canary_set))
    records = spool.records
    gated = gated_lengths(spool.narrow())
    pieces = spool.records - records
    parts = spool.finish()
    for kind, profile in settings.kdf_profiles().items():
        check_profile(kind, profile, settings.caps)
    old = _last_manifest(subscriber.workspace, job.where, settings)
    epoch = choose_epoch(
        subscriber.workspace,
        subscriber.token,
        settings.kdf_profiles(),
        published=old.set_id if old else None,
        new_epoch=job.options.new_epoch,
    )
    base = _next_manifest(_next_serial(job), epoch, settings, subscriber)
    done, runs = _seal(parts, epoch, subscriber, gated, job.stages)
    return _Sealed(done, runs, parts, KnownRules.of(canary_set, gated), old, base, pieces)


def _next_serial(job: _Job) -> int:
    """The serial of the next pack: above all packs, and what is installed here.

    Raises:
        RefreshError: there is none, or the one that was asked for is too far ahead.
    """
    workspace, options = job.subscriber.workspace, job.options
    last = last_serial(workspace)
    is_apart = options.subscriber or options.accept_older
    before = max(last, 0 if is_apart else highest_of_all(job.where.installed))
    if options.serial - before > MAX_SERIAL_STEP:
        raise RefreshError(
            f"--serial {options.serial}: the last serial is {before}, and no proxy would take one "
            f"so far ahead; give one up to {before + MAX_SERIAL_STEP}"
        )
    if before >= MAX_SERIAL:
        place = f"{workspace}/packs/{last:010d}" if last == before else f"{job.where.installed}"
        raise RefreshError(
            f"{place}: its serial {before} is the last that there can be; "
            + (f"remove it (rm -r {place}), and " if last == before else "")
            + "run this again with --accept-older (refresh; publish needs no option), and on "
            "proxies that have it inkgate-rules install --accept-older with the next pack"
        )
    return max(before + 1, options.serial)


def _nothing(faults: Sequence[Unreadable]) -> str:
    """What failed comes first: who reads on to --allow-empty would publish nothing at all."""
    nothing = "the sources hold no indicator that can be sealed; nothing was changed"
    if not faults:
        return f"{nothing} (use --allow-empty if that is right)"
    return "; ".join((*(f"not read: {fault}" for fault in faults), f"so {nothing}"))


def _last_manifest(workspace: Path, where: RulesPaths, settings: RulesSettings) -> Manifest | None:
    pack = workspace / PACK
    if not pack.exists():
        return None
    try:
        data = read_small(pack / MANIFEST)
        verify_signature(data, read_small(pack / SIGNATURE), read_public_key(where.public_key_file))
        return parse_manifest(data, settings.caps)
    except PackError:
        # Damaged, or made with another key or other settings: a new pack replaces it.
        return None


def _next_manifest(
    serial: int, epoch: EpochRecord, settings: RulesSettings, subscriber: Subscriber
) -> Manifest:
    """The new manifest without its files."""
    now = datetime.now(UTC).replace(microsecond=0)
    return Manifest(
        format=FORMAT,
        set_id=epoch.set_id,
        set_salt=epoch.set_salt,
        token_check=epoch.token_check,
        subscriber=subscriber.name,
        serial=serial,
        created=now,
        expires=now + timedelta(days=settings.expires_days),
        profiles=epoch.profiles,
        epsilon=settings.epsilon,
        prefixes={},
        classes={},
        gates={},
        networks_gated=True,
        pairs_gated=True,
    )


def _seal(
    parts: Sequence[Partition],
    epoch: EpochRecord,
    subscriber: Subscriber,
    gated: Lengths,
    progress: Progress,
) -> tuple[SealCounts, list[Run]]:
    folder = subscriber.workspace / SEALED / epoch.set_id
    make_folder(folder, PUBLISHER_MODE, parents=PUBLISHER_MODE)
    remove_unfinished(folder)
    paths = [folder / f"{part.number:02d}.run" for part in parts]
    tasks = []
    for part, path in zip(parts, paths, strict=True):
        run = open_run(path)
        digest = _run_digest(part, gated)
        if run is None or run.header.digest != digest:
            tasks.append((Task(part.path, digest, path), part.records))
    keys = Epoch(
        epoch.set_id,
        epoch.set_key(subscriber.token),
        epoch.profiles,
        subscriber.workspace / "derived",
        gated,
    )
    progress.start("sealing", sum(records for _, records in tasks))
    done = seal_partitions(keys, tasks, progress.advance)
    return done, [Run(path) for path in paths]


def _run_digest(part: Partition, gated: Lengths) -> bytes:
    """Of what a run is made from: its records, and which addresses and networks are gated."""
    return hashlib.blake2b(part.digest + f"{gated} pairs".encode(), digest_size=16).digest()


def _publish(job: _Job, sealed: _Sealed) -> tuple[Path, Manifest, bool]:
    """The pack, its manifest, and whether it is new."""
    subscriber, settings, old, base = job.subscriber, job.settings, sealed.old, sealed.base
    content = hashlib.sha256(
        b"".join(part.digest for part in sealed.parts) + f"{subscriber.pad}".encode()
    ).digest()
    unchanged = published_content(subscriber.workspace) == content
    if old and unchanged and not _due(old, base, settings) and _is_whole(subscriber, old):
        return subscriber.workspace / PACK, old, False
    padding = None
    if subscriber.pad > 1:
        key = read_padding_key(job.where.publisher)
        padding = Padding(key, base.set_id, subscriber.pad, sealed.known)
    signing = read_signing_key(job.where.publisher)
    pack, manifest = publish(
        subscriber.workspace, base, sealed.runs, signing, content, padding, settings.caps
    )
    for other in (subscriber.workspace / SEALED).iterdir():
        if other.name != base.set_id:
            shutil.rmtree(other, ignore_errors=True)
    return pack, manifest, True


def _is_whole(subscriber: Subscriber, manifest: Manifest) -> bool:
    try:
        check_files(subscriber.workspace / PACK, manifest)
    except PackError:
        return False
    return True


def _due(old: Manifest, base: Manifest, settings: RulesSettings) -> bool:
    """Whether the old manifest must be replaced although its rules are the same."""
    half = timedelta(days=settings.expires_days) / 2
    return (
        # A pack that is numbered on: what proxies have installed has a higher serial.
        base.serial > old.serial + 1
        or old.expires - base.created < half
        or old.expires - old.created != base.expires - base.created
        or old.set_id != base.set_id
        or old.epsilon != base.epsilon
        or old.networks_gated != base.networks_gated
        or old.pairs_gated != base.pairs_gated
        or old.subscriber != base.subscriber
    )


def _install(
    pack: Path, where: RulesPaths, settings: RulesSettings, token: bytes, *, accept_older: bool
) -> None:
    key = read_public_key(where.public_key_file)
    manifest = verify_pack(
        pack,
        key=key,
        caps=settings.caps,
        token=token,
        now=datetime.now(UTC),
        installed=lambda: None if accept_older else highest_serial(where.installed, key),
    )
    install_pack(pack, manifest, where.installed, key, accept_older=accept_older)
