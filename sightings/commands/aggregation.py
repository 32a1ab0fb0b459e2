"""Commands of `inkgate-sightings` for private aggregation (docs/aggregation.md)."""

from __future__ import annotations

import hmac
import os
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import click
import msgspec

from inkgate.config.command import needs
from inkgate.config.owner import as_owner, become_owner
from inkgate.config.printable import printable
from inkgate.config.secret import read_secret
from inkgate.config.settings_file import load_section, resolve, settings_path
from inkgate.config.whole_file import write_whole
from inkgate.misp.connector import Connector
from inkgate.sightings.aggregation.counts import counts_for_period
from inkgate.sightings.aggregation.description import check_group
from inkgate.sightings.aggregation.errors import AggregationError
from inkgate.sightings.aggregation.exchange.mailbox import FileMailbox, Mailbox, RedisMailbox
from inkgate.sightings.aggregation.exchange.state_folder import (
    StateFolder,
    read_group,
    read_list,
    read_scalar,
    write_secret,
)
from inkgate.sightings.aggregation.group import (
    AggregatorKeys,
    Group,
    NoiseSettings,
    default_threshold,
)
from inkgate.sightings.aggregation.labels import Labels, label_of
from inkgate.sightings.aggregation.masked.masks import public_of
from inkgate.sightings.aggregation.noise import noise_quantile
from inkgate.sightings.aggregation.protocol import Aggregator, Totals
from inkgate.sightings.aggregation.publish.misp import MispPublisher
from inkgate.sightings.aggregation.publish.publication import publishable
from inkgate.sightings.aggregation.registry import PROTOCOLS, protocol_of
from inkgate.sightings.aggregation.session import Session
from inkgate.sightings.aggregation.settings import AggregationSettings
from inkgate.sightings.errors import JournalError
from inkgate.sightings.export.stix import Teller, bundle
from inkgate.sightings.export.stix import totals as total_sightings
from inkgate.sightings.journal.backends.registry import reported_file
from inkgate.sightings.journal.journal import Journal
from inkgate.sightings.settings import SightingsSettings

_TOTALS = "totals.json"
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NEW_FILE = click.Path(dir_okay=False, path_type=Path)
_URLS = ("redis://", "rediss://", "unix://")
_DEALT = " or ".join(protocol.name for protocol in PROTOCOLS if protocol.deal)


class _Party:
    """Settings and state folder of the party that a command runs for."""

    def __init__(self, context: click.Context) -> None:
        self.config = settings_path(context.find_root().params.get("config"))
        self.settings = load_section(self.config, "aggregation", AggregationSettings)
        state = resolve(self.config, self.settings.state)
        become_owner(state)
        self.state = StateFolder(state)

    def counts(self, session: Session) -> list[int]:
        """From the journal, which must reach back to the period's first day.

        Raises:
            AggregationError, JournalError: it does not, or is not there: zeros would be wrong.
        """
        settings = load_section(self.config, "sightings", SightingsSettings)
        path = reported_file(self.config, settings)
        if path is None:
            raise JournalError("[sightings] journal is empty, so there are no counts; name a file")
        kept = datetime.now(UTC).date() - timedelta(days=settings.keep_days)
        if session.first < kept:
            raise AggregationError(
                "wrong-period",
                f"the journal keeps {settings.keep_days} days, so {session.period} may be gone",
                f"encrypt a period that begins on {kept} or later, or raise keep_days in time",
            )
        # The state may be root's, the journal is Squid's user's.
        with as_owner(path.parent):
            if not os.path.lexists(path):
                raise JournalError(f"{path} is not there; run encrypt where sightings are reported")
            return counts_for_period(Journal(path), session)

    def mailbox(self) -> Mailbox:
        settings = self.settings
        if not settings.mailbox.startswith(_URLS):
            return FileMailbox(resolve(self.config, settings.mailbox))
        password = self._secret(settings.redis_password_file, "Redis")
        return RedisMailbox(settings.mailbox, settings.redis_user or None, password)

    def misp(self) -> Connector:
        settings = self.settings
        key = self._secret(settings.misp_key_file, "MISP")
        if not key or not settings.misp_url:
            raise AggregationError(
                "no-misp", "no MISP to publish to", "set misp_url and misp_key_file"
            )
        ca_file = settings.misp_ca_file
        return Connector(
            settings.misp_url, key, ca_file=resolve(self.config, ca_file) if ca_file else None
        )

    def _secret(self, file: str, what: str) -> str | None:
        return read_secret(resolve(self.config, file), "", what) if file else None

    def session(self, group: str, period: str, list_file: Path) -> Session:
        return Session(self.state.group(group), period, read_list(list_file))


_period = click.option("--period", required=True, metavar="DAY", help="First day (YYYY-MM-DD).")
_list = click.option("--list", "list_file", required=True, type=_FILE, help="Indicators counted.")
_wait = click.option("--wait", default=0.0, metavar="SECONDS", help="For the others, a round.")


@click.command()
@click.argument("name")
@click.option("--uuids", required=True, type=_FILE, help="MISP attribute UUIDs, one a line.")
@click.option("--serial", required=True, type=click.IntRange(0), help="Of their rule set.")
@click.option("--subscriber", "subscribers", multiple=True, metavar="NAME=KEY", help="See join.")
@click.option(
    "--protocol", default=PROTOCOLS[0].name, type=click.Choice([p.name for p in PROTOCOLS])
)
@click.option("--threshold", type=int, help="Who must help with dropouts [2n/3 + 1].")
@click.option("--quota-subscribers", default=3, show_default=True, help="Publish from so many on.")
@click.option("--quota-total", type=int, help="Publish totals from this on [1, or above noise].")
@click.option("--max-count", default=1000, show_default=True, help="Of one subscriber.")
@click.option("--period-days", default=7, show_default=True)
@click.option("--epsilon", type=float, help="Add noise: privacy lost in a period.")
@click.option("--delta", default=1e-6, show_default=True, help="With --epsilon.")
@click.option("--honest", default=2 / 3, help="With --epsilon: fraction that does not collude.")
@click.option("--budget", default=10.0, show_default=True, help="With --epsilon: sum of all.")
@click.option(
    "--key", type=_FILE, help=f"The aggregator's key from the dealer (protocol {_DEALT})."
)
@click.pass_context
@needs("aggregation")
def setup(
    context: click.Context,
    /,
    name: str,
    uuids: Path,
    serial: int,
    subscribers: tuple[str, ...],
    protocol: str,
    key: Path | None,
    **options: Any,
) -> None:
    """Describe a group (aggregator), or write a new list for one that is there."""
    party = _Party(context)
    labels = Labels(serial, map(label_of, _read_uuids(uuids)))
    if subscribers:
        keys = dict(_pair(text) for text in subscribers)
        group = _group(name, protocol, keys, _aggregator_keys(party), options)
        party.state.pin(group, msgspec.json.format(msgspec.json.encode(group)) + b"\n")
    group = party.state.group(name)
    if key is not None:
        _keep_key(party.state.group_folder(name) / "aggregator.key", key)
    elif (
        protocol_of(group).deal is not None
        and not (party.state.group_folder(name) / "aggregator.key").exists()
    ):
        _say("have a dealer that is no party run deal, and give setup its key with --key")
    path = party.state.keep_list(name, labels)
    click.echo(f"group        {party.state.group_folder(name) / 'group.json'}")
    click.echo(f"list         {path} ({len(labels)} indicators)")
    click.echo(f"fingerprint  {group.digest.hex()}")


@click.command(
    help=f"""Make all keys of a group with protocol {_DEALT} (dealer): one file for each party.

    The dealer knows everything, so it is neither the aggregator nor a subscriber.
    """
)
@click.option("--group", required=True, type=_FILE, help="The description from who set it up.")
@click.option("--folder", required=True, type=click.Path(path_type=Path), help="For the keys; new.")
@needs("aggregation")
def deal(group: Path, folder: Path) -> None:
    """Make all keys of a group whose protocol has a dealer."""
    described, _ = read_group(group)
    make_keys = protocol_of(described).deal
    if make_keys is None:
        raise AggregationError(
            "bad-group", f"only protocol {_DEALT} has a dealer", "leave deal out"
        )
    if folder.exists():
        raise AggregationError("bad-group", f"{folder} is there", "deal into a new folder, once")
    own, keys = make_keys(sorted(described.subscribers))
    write_secret(folder / "aggregator.key", own)
    for name, secret in keys.items():
        write_secret(folder / "subscribers" / f"{name}.key", secret)
    click.echo(f"give each party its key from {folder}, no other, then delete that folder")


@click.command()
@click.option("--group", type=_FILE, help="The description from who set the group up.")
@click.option("--fingerprint", metavar="HEX", help="Of it, as told by the other members.")
@click.option("--key", type=_FILE, help=f"Key from the dealer (protocol {_DEALT}).")
@click.pass_context
def join(
    context: click.Context, group: Path | None, fingerprint: str | None, key: Path | None
) -> None:
    """Print this subscriber's key for setup, or join a group."""
    party = _Party(context)
    own = party.state.identity().public_key().public_bytes_raw().hex()
    if group is None:
        click.echo(f"{_own_name(party)}={own}")
        return
    described, encoded = read_group(group)
    if not hmac.compare_digest(described.digest.hex(), (fingerprint or "").strip().lower()):
        raise AggregationError(
            "bad-group", f"{group} has another fingerprint", "ask another member for it"
        )
    if described.subscribers.get(_own_name(party)) != own:
        raise AggregationError(
            "bad-group", "this subscriber's name and key are not in it", "have it set up again"
        )
    if protocol_of(described).deal is not None:
        if key is None:
            raise AggregationError(
                "bad-group", f"protocol {described.protocol} needs a key", "give --key"
            )
        _keep_key(party.state.group_folder(described.name) / "subscriber.key", key)
    party.state.pin(described, encoded)
    click.echo(f"joined {described.name}: {', '.join(sorted(described.subscribers))}")


@click.command()
@click.argument("group")
@_period
@_list
@_wait
@click.pass_context
@needs("aggregation")
def encrypt(context: click.Context, group: str, period: str, list_file: Path, wait: float) -> None:
    """Submit this subscriber's counts of a period, as far as the others are."""
    # Imported here: only this command needs them.
    from inkgate.sightings.aggregation.exchange.answer_record import AnswerRecord  # noqa: PLC0415
    from inkgate.sightings.aggregation.exchange.participant import Participant  # noqa: PLC0415
    from inkgate.sightings.aggregation.exchange.running import take_part  # noqa: PLC0415

    party = _Party(context)
    session = party.session(group, period, list_file)
    if datetime.now(UTC).date() < session.end:
        raise AggregationError(
            "wrong-period", f"{period} is not over", f"encrypt it from {session.end} on"
        )
    record = AnswerRecord(party.state.record)
    if not record.has_period(session):
        record.open_period(session, party.counts(session))
    key_file = party.state.group_folder(group) / "subscriber.key"
    key = None if protocol_of(session.group).deal is None else read_scalar(key_file)
    subscriber = Participant(_own_name(party), party.state.identity(), record, key)
    done = take_part(subscriber, session, _own_name(party), party.mailbox(), wait)
    answered, rounds = record.answered(session), len(subscriber.rounds(session))
    click.echo(f"{answered} of {rounds} rounds answered")
    if session.group.noise is not None:
        budget = session.group.noise.budget
        click.echo(f"privacy spent: epsilon {record.spent(session):g} of {budget:g}")
    if not done:
        context.exit(1)


@click.command()
@click.argument("group")
@_period
@_list
@_wait
@click.pass_context
@needs("aggregation")
def aggregate(
    context: click.Context, group: str, period: str, list_file: Path, wait: float
) -> None:
    """Add up what the subscribers submitted (aggregator)."""
    from inkgate.sightings.aggregation.exchange.running import Aggregation  # noqa: PLC0415

    party = _Party(context)
    session = party.session(group, period, list_file)
    folder = party.state.session_folder(session.group, session.id)
    aggregator, key = _aggregator(party, session), party.state.identity()
    running = Aggregation(session, aggregator, folder, party.mailbox(), key, _say)
    totals = running.run(wait)
    write_whole(folder / _TOTALS, msgspec.json.encode(totals), 0o600)
    spoilt = sum(value is None for value in totals.values)
    click.echo(f"{totals.contributors} contributors, {len(totals.values)} indicators")
    if spoilt:
        _say(f"{spoilt} totals are not plausible: some subscriber submitted nonsense")


@click.command()
@click.argument("group")
@_period
@_list
@click.option("--uuids", required=True, type=_FILE, help="MISP attribute UUIDs, one a line.")
@click.option("--print", "only_print", is_flag=True, help="Print them and publish nothing.")
@click.option("--stix", type=_NEW_FILE, help="Write them into this file (STIX 2.1) instead.")
@click.pass_context
@needs("aggregation")
def publish(
    context: click.Context,
    group: str,
    period: str,
    list_file: Path,
    uuids: Path,
    stix: Path | None,
    *,
    only_print: bool,
) -> None:
    """Publish totals above the quotas to MISP, as sightings (aggregator)."""
    party = _Party(context)
    session = party.session(group, period, list_file)
    path = party.state.session_folder(session.group, session.id) / _TOTALS
    if not path.exists():
        raise AggregationError("too-few", f"{period} has no totals", "run aggregate first")
    totals = msgspec.json.decode(path.read_bytes(), type=Totals)
    by_label = {label_of(name): name for name in _read_uuids(uuids)}
    found = {
        by_label[label]: value
        for label, value in publishable(totals, session.group, session.labels)
        if label in by_label
    }
    if only_print:
        for name in sorted(found):
            click.echo(f"{name}\t{found[name]}")
        return
    if stix is not None:
        write_whole(stix, _bundle(session, found), 0o640)
        click.echo(f"{len(found)} totals written")
        return
    known = MispPublisher(party.misp()).publish(session, found, party.settings.sightings_per_total)
    click.echo(f"{known} of {len(found)} totals published")


def _bundle(session: Session, totals: dict[str, int]) -> bytes:
    """Totals as a bundle of STIX sightings."""
    teller = Teller(session.id.hex(), f"inkgate {session.group.name}")
    first, end = (datetime.combine(day, time(), UTC) for day in (session.first, session.end))
    told = total_sightings(teller, first.timestamp(), end.timestamp(), totals)
    return msgspec.json.encode(bundle(told)) + b"\n"


def _aggregator(party: _Party, session: Session) -> Aggregator:
    protocol = protocol_of(session.group)
    if protocol.deal is None:
        return protocol.aggregator(session, party.state.sealing_key())
    folder = party.state.group_folder(session.group.name)
    return protocol.aggregator(session, read_scalar(folder / "aggregator.key"))


def _keep_key(target: Path, source: Path) -> None:
    """Keep a key from the dealer; it never changes."""
    key = read_scalar(source)
    if not target.exists():
        write_secret(target, key)
    elif read_scalar(target) != key:
        raise AggregationError(
            "bad-group", f"{target} holds another key", "set up a new group to change keys"
        )


def _aggregator_keys(party: _Party) -> AggregatorKeys:
    return AggregatorKeys(
        signing=party.state.identity().public_key().public_bytes_raw().hex(),
        sealing=public_of(party.state.sealing_key()).hex(),
    )


def _group(
    name: str,
    protocol: str,
    keys: dict[str, str],
    aggregator: AggregatorKeys,
    options: dict[str, Any],
) -> Group:
    noise = {field: options.pop(field) for field in ("epsilon", "delta", "honest", "budget")}
    threshold = options.pop("threshold") or default_threshold(len(keys))
    quota = options.pop("quota_total")
    try:
        group = check_group(
            Group(
                name=name,
                protocol=protocol,
                subscribers=keys,
                aggregator=aggregator,
                threshold=threshold,
                noise=None if noise["epsilon"] is None else msgspec.convert(noise, NoiseSettings),
                **options,
            )
        )
    except ValueError as error:
        raise AggregationError("bad-group", str(error), "correct that option") from None
    return _with_quota(group, quota)


def _with_quota(group: Group, quota: int | None) -> Group:
    least = max(1, noise_quantile(group))
    if quota is not None and group.noise is not None and quota < least:
        raise AggregationError(
            "bad-group",
            f"noise alone exceeds --quota-total {quota} too often",
            f"give {least} or more, or leave it out",
        )
    return msgspec.structs.replace(group, quota_total=least if quota is None else quota)


def _pair(text: str) -> tuple[str, str]:
    name, _, key = text.partition("=")
    return name, key


def _own_name(party: _Party) -> str:
    if not party.settings.name:
        raise AggregationError(
            "bad-group", "this subscriber has no name", "set name in [aggregation]"
        )
    return party.settings.name


def _read_uuids(path: Path) -> Sequence[str]:
    names = path.read_text("ascii", "replace").split()
    for number, name in enumerate(names, 1):
        try:
            names[number - 1] = str(uuid.UUID(name))
        except ValueError:
            raise AggregationError(
                "bad-message", f"{path}, line {number}: not a UUID", "one UUID a line"
            ) from None
    return names


def _say(line: str) -> None:
    click.echo(printable(line), err=True)
