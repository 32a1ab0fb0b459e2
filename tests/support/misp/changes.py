"""Random changes to a MISP, as its users make them; the same seed makes the same ones."""

from __future__ import annotations

import random
from collections.abc import Callable

from support.misp.store import HARD, Attribute, Event, Misp

_TYPES: dict[str, Callable[[int], str]] = {
    "domain": "n{}.listed.example".format,
    "url": "http://files.example/{}".format,
    "ip-dst": lambda n: f"198.18.{n // 256 % 256}.{n % 256}",
    "sha256": "{:064x}".format,
}


class Changes:
    """Changes one MISP, and remembers which events it touched and all values it ever held.

    Args:
        publishing: the part of the changes after which the event is published.
    """

    def __init__(self, misp: Misp, seed: int, publishing: float = 0.85) -> None:
        self._misp = misp
        self._random = random.Random(seed)
        self._publishing = publishing
        self._number = 0
        self.touched: set[int] = set()
        self.values: set[tuple[str, str]] = set()

    def add_event(self) -> Event:
        """A new event of 1 to 25 attributes, some of them in objects or without to_ids."""
        event = self._misp.add_event("made up", tags=self._tags(), publish=False)
        for _ in range(self._random.choice((1, 3, 8, 25))):
            self._add(event)
        return self._done(event)

    def one(self) -> None:
        """Any one change."""
        events = list(self._misp.events.values())
        attributes = list(self._misp.attributes.values())
        if not attributes or self._random.random() < 0.15:
            self.add_event()
        elif self._random.random() < 0.35:
            self._change_event(self._random.choice(events))
        else:
            self._change_attribute(self._random.choice(attributes))

    def _change_event(self, event: Event) -> None:
        match self._random.randrange(6):
            case 0:
                self._misp.delete_event(event)
                self.touched.add(event.id)
                return
            case 1:
                self._misp.unpublish(event)
                self.touched.add(event.id)
                return
            case 2:
                self._misp.unpublish(event)
            case 3:
                self._misp.tag(event, *self._tags())
            case _:
                self._add(event)
        self._done(event)

    def _change_attribute(self, attribute: Attribute) -> None:
        match self._random.randrange(5):
            case 0:
                self._misp.delete(attribute)
            case 1:
                self._misp.delete(attribute, hard=HARD)
            case 2:
                self._misp.edit(attribute, to_ids=not attribute.to_ids)
            case 3:
                self._misp.edit(attribute, deleted=False)
            case _:
                self._misp.edit(attribute, value=self._value(attribute.type))
        self._done(attribute.event)

    def _add(self, event: Event) -> None:
        name = self._random.choice(list(_TYPES))
        self._misp.add_attribute(
            event,
            name,
            self._value(name),
            to_ids=self._random.random() < 0.8,
            object_id=self._random.choice((0, 0, 7)),
            tags=self._tags(),
        )

    def _value(self, name: str) -> str:
        # Sometimes one that is there already, so that rules hold several attributes.
        self._number += self._random.choice((0, 1, 1, 1))
        value = _TYPES[name](self._number)
        self.values.add((name, value))
        return value

    def _tags(self) -> list[str]:
        return self._random.choice(([], ["tlp:green"], ["tlp:amber", "made-up"]))

    def _done(self, event: Event) -> Event:
        self.touched.add(event.id)
        if self._random.random() < self._publishing:
            self._misp.publish(event)
        return event
