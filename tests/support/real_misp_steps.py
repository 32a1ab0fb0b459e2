"""What is tried with a MISP that somebody runs, step by step.

Each step makes what it needs, and ends with figures or an AssertionError. The readings are made
with the MISP itself; reports go through a relay that spoils answers, since nobody asks the
administrator to.
"""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from inkgate.misp.errors import MispError
from inkgate.sightings.journal.journal import Journal
from support.http_relay import Canned, HttpRelay
from support.installation import BIN, SETTINGS, Installation
from support.linked import refreshed, sealed
from support.misp_scenarios import UNKNOWN
from support.real_misp import TYPES, MadeEvent, Workshop
from support.reporting import DAY, sighting
from support.waiting import wait_until

Figures = dict[str, int | str]
Step = Callable[["Course"], Figures]

NOT_TRIED = (
    "distribution and sharing groups (needs a second organisation)",
    "sightings policies, and sightings that are not loaded (settings of the MISP)",
    "maintenance, rate limits, 503 and 413 of the MISP itself (the relay plays them)",
    "warninglists, decay and tags that are not exportable (settings of the MISP)",
    "disabled users, expired keys, keys bound to an address",
    "plug-ins that find sightings invalid, or fail at them",
)
_HOUR = 3600
_KEYS = ("misp.key", "wrong.key", "read-only.key")


class LeftOutError(Exception):
    """This step needs something that is not there."""


@dataclass(frozen=True)
class Login:
    """How the MISP is reached; `ca_file` may be empty."""

    url: str
    key: str
    read_only_key: str = ""
    ca_file: str = ""
    verify: bool = True

    @property
    def trusted(self) -> bool | str:
        """For `requests`."""
        return self.ca_file or True if self.verify else False


class Course:
    """An installation beside a MISP, and what was made in it.

    Args:
        login: how the MISP is reached.
        workshop: what makes the events.
        installation: reads and reports.
        relay: what spoils answers.
        events, attributes: how many events the readings begin with, how many in each.
        kills: of reporters.
        seed: of the moments of the kills.
    """

    def __init__(
        self,
        login: Login,
        workshop: Workshop,
        installation: Installation,
        relay: HttpRelay,
        *,
        events: int,
        attributes: int,
        kills: int,
        seed: int,
    ) -> None:
        self.login = login
        self.workshop = workshop
        self.relay = relay
        self.events, self.attributes, self.kills = events, attributes, kills
        self.random = random.Random(seed)
        self._installation = installation
        self._moment = time.time() - _HOUR
        self._matches = 0
        keys = (login.key, "0" * 40, login.read_only_key)
        for name, key in zip(_KEYS, keys, strict=True):
            path = installation.config.parent / name
            path.touch(mode=0o600)
            path.write_text(key + "\n")

    def configure(self, *, key: str = _KEYS[0], batch: int = 200, relayed: bool = False) -> None:
        """Read the events with the tag only; report through the relay."""
        login = self.login
        trust = f'ca_file = "{login.ca_file}"\n' if login.ca_file else ""
        trust += "" if login.verify else "verify_tls = false\n"
        tag = self.workshop.tag.replace('"', '\\"')
        settings = SETTINGS.replace('sources = ["events"]\n', "").replace(
            "[rules]\n", "[rules]\ndomain_ip_by_domain = false\n"
        )
        # Without an overlap the look at names has to find what no version tells.
        source = (
            f'[[rules.sources]]\ntype = "misp-web"\nkey_file = "{_KEYS[0]}"\nfirst_wait = 0.1\n'
            f'url = "{self.relay.url if relayed else login.url}"\n{"" if relayed else trust}'
            f'page_size = 50\ntags = ["{tag}"]\nrecheck_minutes = 0\noverlap_minutes = 0\n'
            "enforce_warninglist = false\n"
        )
        report = (
            f'[sightings.misp]\nurl = "{self.relay.url}"\nkey_file = "{key}"\nbatch = {batch}\n'
            "first_wait = 0.1\nlongest_wait = 0.5\nattempts = 12\n"
        )
        self._installation.config.write_text(f"{settings}\n{report}\n{source}")

    def equal(self) -> Figures:
        """Refresh; the rules hold what was made."""
        summary = refreshed(self._installation)
        found, wanted = sealed(self._installation, self.workshop.values()), self.workshop.truth()
        missing = self.workshop.types_of(wanted - found)
        assert found == wanted, (
            f"{len(wanted - found)} of {len(wanted)} attributes are missing in the rules "
            f"({', '.join(missing)}), {len(found - wanted)} are there that should not be"
        )
        return {"attributes": len(wanted), "rules": summary.rules}

    def seen(self, event: MadeEvent, *, node: str = "trial", days_ago: int = 0) -> None:
        """A match of each attribute of an event."""
        found = []
        for made in event.attributes:
            self._matches += 1
            incident = f"IG-{self._matches:010}"
            moment = self._moment - days_ago * DAY
            found.append(sighting([made.uuid], moment, incident, events=(event.id,), node=node))
        journal = Journal(self.journal, busy_timeout=60)
        journal.append(found)
        journal.close()

    def report(self, status: int = 0) -> str:
        """Run `inkgate-sightings report`, which has to end with a status; what it said."""
        done = self._installation.run("inkgate-sightings", "report")
        said = (done.stdout + done.stderr).strip()
        assert done.returncode == status, f"report ended with {done.returncode}: {said}"
        return said

    def start_reporter(self) -> subprocess.Popen[bytes]:
        config = self._installation.config
        return subprocess.Popen(
            [BIN / "inkgate-sightings", "--config", config, "report", "--follow"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def refused(self) -> str:
        """What was refused, and why."""
        return self._installation.run("inkgate-sightings", "refused", "--json").stdout

    def told_once(self, event: MadeEvent) -> Figures:
        """MISP lists one sighting of each attribute of an event, and no others."""
        listed = self.workshop.sightings(event)
        wanted = Counter(made.uuid for made in event.attributes)
        lost, more = wanted - listed, listed - wanted
        assert listed == wanted, (
            f"MISP lists {listed.total()} sightings of {len(wanted)} attributes: "
            f"{lost.total()} are missing, {more.total()} are too many"
        )
        return {"sightings": listed.total(), "spoiled answers": self.relay.spoiled}

    @property
    def journal(self) -> Path:
        return self._installation.config.parent / "run" / "sightings.db"


def first_reading(course: Course) -> Figures:
    """All types, objects, what is without to_ids, and an event that is not published."""
    workshop = course.workshop
    for start in range(0, len(TYPES), course.attributes):
        workshop.make(TYPES[start : start + course.attributes])
    for _ in range(course.events):
        event = workshop.make(workshop.any_types(course.attributes), publish=False)
        workshop.add(event, workshop.attribute("domain", to_ids=False))
        workshop.add_object(event)
        workshop.tag_attribute(event, event.attributes[0])
        workshop.publish(event)
    workshop.make(["domain", "url"], publish=False)
    return {"events": len(workshop.events), "types": len(TYPES), **course.equal()}


def edits(course: Course) -> Figures:
    """Another value, and to_ids off and on again, each with a reading."""
    workshop = course.workshop
    event = workshop.make(["domain", "url", "sha256", "ip-dst"])
    course.equal()
    first, second, *_ = event.attributes
    workshop.edit(event, first, value=workshop.attribute("domain").value)
    workshop.edit(event, second, to_ids=False)
    workshop.add(event, workshop.attribute("filename|sha256"))
    workshop.publish(event)
    course.equal()
    workshop.edit(event, second, to_ids=True)
    workshop.publish(event)
    return course.equal()


def deletions(course: Course) -> Figures:
    """Softly, and for good."""
    workshop = course.workshop
    event = workshop.make(["domain", "url", "sha256", "ip-dst"])
    course.equal()
    for made, hard in zip(event.attributes[:2], (False, True), strict=True):
        workshop.delete(event, made, hard=hard)
        workshop.publish(event)
        course.equal()
    return course.equal()


def object_deletion(course: Course) -> Figures:
    """By the API, for good: no version of the event says so."""
    workshop = course.workshop
    event = workshop.make(["domain"], publish=False)
    (made, *_) = workshop.add_object(event)
    workshop.publish(event)
    course.equal()
    workshop.delete_object(event, made.object_id)
    return course.equal()


def merge(course: Course) -> Figures:
    """No version of the target says so."""
    workshop = course.workshop
    target, source = workshop.make(["domain", "url"]), workshop.make(["hostname", "sha256"])
    course.equal()
    try:
        workshop.merge(target, source)
    except MispError as error:
        raise LeftOutError(f"this key may not merge events ({error.problem})") from None
    return course.equal()


def withdrawals(course: Course) -> Figures:
    """An event that is unpublished, published again, and deleted."""
    workshop = course.workshop
    event, other = workshop.make(["domain", "url"]), workshop.make(["domain"])
    course.equal()
    workshop.unpublish(event)
    course.equal()
    workshop.publish(event)
    course.equal()
    workshop.delete_event(other)
    return course.equal()


def spoiled_reading(course: Course) -> Figures:
    """A first reading with answers that are cut off, and others that are not MISP's."""
    course.configure(relayed=True)
    course.relay.spoil([Canned(503), Canned(502), Canned(504)], restSearch=2)
    try:
        return {**course.equal(), "spoiled answers": course.relay.spoiled}
    finally:
        course.configure()


def plain_report(course: Course) -> Figures:
    event = course.workshop.make(course.workshop.any_types(course.attributes))
    course.seen(event)
    course.seen(event)
    course.report()
    return course.told_once(event)


def lost_answers(course: Course) -> Figures:
    """MISP has done what it was asked for, and the reporter does not hear of it."""
    course.configure(batch=5)
    event = course.workshop.make(course.workshop.any_types(course.attributes))
    course.relay.spoil(bulkSaveSightings=3)
    course.seen(event)
    course.report()
    assert course.relay.spoiled, "no answer was lost"
    return course.told_once(event)


def unavailable(course: Course) -> Figures:
    """As in maintenance, at a limit, and behind a server that has lost its MISP."""
    login_page = (("Location", "/users/login"),)
    canned = [
        Canned(302, login_page),
        Canned(405),
        Canned(503),
        Canned(429, (("X-Rate-Limit-Reset", "1"),)),
        Canned(200),
        Canned(502),
    ]
    event = course.workshop.make(course.workshop.any_types(course.attributes))
    course.relay.spoil(canned)
    course.seen(event)
    course.report()
    return course.told_once(event)


def killed(course: Course) -> Figures:
    """Reporters that are killed (-9) at some request."""
    course.configure(batch=2)
    event = course.workshop.make(course.workshop.any_types(course.attributes))
    for n in range(course.kills):
        course.seen(event, node=f"trial{n}")
        enough = len(course.relay.paths) + course.random.randint(1, 1 + len(event.attributes) // 2)
        process = course.start_reporter()
        try:
            wait_until(lambda: len(course.relay.paths) >= enough, "a reporter's requests")  # noqa: B023
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    course.report()
    listed = course.workshop.sightings(event)
    wanted = Counter({made.uuid: course.kills for made in event.attributes})
    assert listed == wanted, (
        f"MISP lists {listed.total()} sightings, and {wanted.total()} were seen"
    )
    return {"sightings": listed.total(), "kills": course.kills}


def deleted_ones(course: Course) -> Figures:
    """An attribute that was deleted for good among good ones, and a softly deleted one."""
    event = course.workshop.make(course.workshop.any_types(max(4, course.attributes)))
    gone, soft, *_ = event.attributes
    course.seen(event)
    course.workshop.delete(event, gone, hard=True)
    course.workshop.delete(event, soft, hard=False)
    said = course.report(status=1)
    assert "refused 1, waiting 0" in said, said
    assert gone.uuid in course.refused(), "another one is refused"
    assert UNKNOWN in course.refused(), course.refused()
    event.attributes.remove(gone)
    # Brought back, so that whether MISP lists sightings of deleted ones does not matter.
    course.workshop.restore(event, soft)
    return course.told_once(event)


def wrong_key(course: Course) -> Figures:
    return _refused_key(course, _KEYS[1])


def read_only_key(course: Course) -> Figures:
    if not course.login.read_only_key:
        raise LeftOutError("no --read-only-key-file")
    return _refused_key(course, _KEYS[2])


def _refused_key(course: Course, key: str) -> Figures:
    """All waits, and is told with the right one."""
    event = course.workshop.make(course.workshop.any_types(course.attributes))
    course.seen(event)
    course.configure(key=key)
    course.report(status=2)
    assert not course.workshop.sightings(event), "a key without the right has told sightings"
    course.configure()
    course.report()
    return course.told_once(event)


def one_by_one(course: Course) -> Figures:
    """As with a MISP without bulkSaveSightings: add_sighting, with lost answers."""
    event = course.workshop.make(course.workshop.any_types(min(8, course.attributes)))
    course.relay.missing = "/sightings/bulkSaveSightings"
    course.relay.spoil(**{"sightings/add": 2})
    # Longer ago than MISP looks back without being told from when to when.
    course.seen(event, days_ago=40)
    course.report()
    return course.told_once(event)


def too_large(course: Course) -> Figures:
    """A server in front that takes small requests only."""
    event = course.workshop.make(course.workshop.any_types(course.attributes))
    course.relay.most_bytes = 1000
    course.seen(event)
    course.report()
    assert course.relay.spoiled, "no request was too large"
    return course.told_once(event)


STEPS: dict[str, Step] = {
    "first reading": first_reading,
    "edits": edits,
    "deleted attributes": deletions,
    "object deleted for good": object_deletion,
    "merged events": merge,
    "unpublished and deleted events": withdrawals,
    "reading with spoiled answers": spoiled_reading,
    "report": plain_report,
    "lost answers": lost_answers,
    "MISP not to be had": unavailable,
    "killed reporters": killed,
    "deleted ones among good ones": deleted_ones,
    "wrong key": wrong_key,
    "read-only key": read_only_key,
    "add_sighting": one_by_one,
    "requests too large (413)": too_large,
}
