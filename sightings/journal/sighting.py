"""A request that matched a rule, as it is journalled."""

from __future__ import annotations

import msgspec

from inkgate.rules.crypto.message import CANARY


class Sighting(msgspec.Struct, frozen=True, kw_only=True):
    """One matched rule.

    Attributes:
        time: seconds since 1970, UTC.
        incident: the id on the blocked page.
        indicator_class: the rule's class, a MISP attribute type.
        attributes: UUIDs of the MISP attributes behind the rule.
        client: the client's address, or what the settings keep of it.
        method: the request's method.
        action: `block`, `log`, or `canary`: a request of the check through the proxy, which
            was blocked and is told to nobody.
        node: the proxy's name.
        events: ids of the MISP events, in the order of `attributes`; an id may be empty,
            and there may be none at all.
    """

    time: float
    incident: str
    indicator_class: str
    attributes: tuple[str, ...]
    client: str
    method: str
    action: str
    node: str
    events: tuple[str, ...] = ()

    @property
    def is_canary(self) -> bool:
        """Whether the check through the proxy made the request."""
        return self.action == CANARY
