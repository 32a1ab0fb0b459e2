"""Watches for new generations beside the main loop, and warms them up before they answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from inkgate.helper.clean import Clean, host_key
from inkgate.helper.protocol import (
    ABSENT,
    METHOD,
    MIN_FIELDS,
    SERVER,
    URI,
    USER_AGENT,
    parse_request,
)
from inkgate.helper.settings import HelperSettings
from inkgate.rules.lookup.derivers import step_back
from inkgate.rules.lookup.hottest import Hottest
from inkgate.rules.lookup.observed import Observed
from inkgate.rules.lookup.rule_set import CHECK_SECONDS, InUse, RuleSet
from inkgate.rules.lookup.warming import one_at_a_time, warm_up

# In the same epoch nothing is derived, so most of it is done in a moment; a new
# indicator should not wait longer.
_SAME_EPOCH_SECONDS: Final = 0.5
# After other processes have derived, to read what they have.
_READ_SECONDS: Final = 1.0
# Longer than it takes to open any rule set.
_LONGEST_END_SECONDS: Final = 10.0
_SERVERS: Final = 1000
_AGENTS: Final = 1000

Request = tuple[list[bytes], Observed]


class View(NamedTuple):
    """What requests are answered from: a generation, and what is clean in it.

    `plain` means that it does not matter which User-Agent asks.
    """

    in_use: InUse
    clean: Clean
    plain: bool


class Hot(NamedTuple):
    """What is asked for most, by its spelling in Squid's lines."""

    hosts: Hottest
    servers: Hottest
    agents: Hottest

    @classmethod
    def nothing(cls, hosts: int) -> Hot:
        """Nothing was asked for yet; up to so many hosts are counted."""
        return cls(Hottest(hosts * 4), Hottest(_SERVERS * 4), Hottest(_AGENTS * 4))

    def saw(self, fields: list[bytes]) -> None:
        """Count one request."""
        if len(fields) < MIN_FIELDS:
            return
        self.hosts.saw(host_key(fields[URI]))
        self.servers.saw(fields[SERVER])
        self.agents.saw(fields[USER_AGENT])

    def requests(self, hosts: int) -> Iterator[Request]:
        """Requests that ask for each of the hottest by itself, hottest first."""
        absent = [b"0", b"GET", *[ABSENT] * (MIN_FIELDS - 2)]
        for part, counted, number in (
            (USER_AGENT, self.agents, _AGENTS),
            (SERVER, self.servers, _SERVERS),
            (URI, self.hosts, hosts),
        ):
            for key in counted.most(number):
                fields = absent.copy()
                fields[part] = key
                if part == URI and b"://" not in key:
                    fields[METHOD] = b"CONNECT"
                request = parse_request(b" ".join(fields))
                if key != ABSENT and request is not None:
                    yield fields, request.observed


class Watcher:
    """Keeps `view` up to date.

    Args:
        rule_set: where generations come from.
        settings: section `[helper]`.
        log: takes one line without secrets.

    Attributes:
        view: what to answer from; None while there is no rule set that can be used.
        hot: what is asked for most; the main loop counts there.
    """

    def __init__(
        self, rule_set: RuleSet, settings: HelperSettings, log: Callable[[str], None]
    ) -> None:
        self._rule_set = rule_set
        self._settings = settings
        self._log = log
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self.view: View | None = None
        self.hot = Hot.nothing(settings.warm_up_hosts)

    def start(self) -> None:
        """Open what is there now, and watch for what comes."""
        self._look()
        self._thread.start()

    def stop(self) -> None:
        """End the thread, so that the interpreter does not end under it."""
        self._stop.set()
        self._thread.join(_LONGEST_END_SECONDS)

    def _watch(self) -> None:
        step_back()
        while not self._stop.wait(CHECK_SECONDS):
            try:
                self._look()
            except Exception as error:  # noqa: BLE001
                # Whatever it was: the old rules go on, and the next round tries again.
                self._log(f"a new rule set could not be used: {type(error).__name__}")

    def _look(self) -> None:
        new = self._rule_set.look()
        if new is None:
            return
        clean = Clean.nothing(self._settings.cached_hosts)
        old = self._rule_set.in_use
        if old is not None:
            self._warm_up(new, clean, same_epoch=old.keys is new.keys)
        self.view = View(new, clean, not new.matcher.has_user_agents)
        self._rule_set.take(new)

    def _warm_up(self, new: InUse, clean: Clean, *, same_epoch: bool) -> None:
        requests = list(self.hot.requests(self._settings.warm_up_hosts))
        now = time.monotonic()
        if same_epoch:
            self._pass(new, clean, requests, now + _SAME_EPOCH_SECONDS, derive=False)
            return
        until = now + self._settings.warm_up_seconds
        with one_at_a_time(new.key_folder, until, self._stop.wait) as mine:
            if mine:
                self._pass(new, clean, requests, until, derive=True)
        if not mine and not self._stop.is_set():
            self._pass(new, clean, requests, until + _READ_SECONDS, derive=False)

    def _pass(
        self, new: InUse, clean: Clean, requests: list[Request], until: float, *, derive: bool
    ) -> None:
        for fields, found in warm_up(new, requests, until, derive=derive):
            if self._stop.is_set():
                return
            clean.remember(fields, found)
