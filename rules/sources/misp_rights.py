"""What a user of a MISP may see, from MISP's own tables (MISP 2.5, distribution levels).

The database gives everything to whoever may read it. MISP shows an event to the organisation
that it belongs to, to everybody here if its distribution is 1 to 3, and to the members of its
sharing group if it is 4; of an event that is not one's own also each object and attribute has
a distribution (5: that of the event). A site administrator sees all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from inkgate.rules.sources.mysql_session import rows

if TYPE_CHECKING:
    from inkgate.rules.sources.mysql_session import Session

_OF_EVENTS: Final = frozenset((1, 2, 3))
_SHARING_GROUP: Final = 4
_INHERITED: Final = 5

_USER: Final = """
SELECT u.disabled OR COALESCE(u.expiration <= NOW(), 0), u.org_id, COALESCE(r.perm_site_admin, 0)
FROM users u LEFT JOIN roles r ON r.id = u.role_id WHERE u.email = %s
"""
# This MISP is server 0 of a sharing group.
_GROUPS: Final = """
SELECT sharing_group_id FROM sharing_group_orgs WHERE org_id = %s
UNION SELECT sharing_group_id FROM sharing_group_servers WHERE server_id = 0 AND all_orgs = 1
"""


class Shared(NamedTuple):
    """With whom an event, object or attribute is shared.

    Attributes:
        distribution: 0 its organisation only, 1 to 3 this MISP and beyond, 4 a sharing group,
            5 as the event.
        group: the sharing group's number, if it is 4.
    """

    distribution: int
    group: int | None


class Viewer(NamedTuple):
    """A user, as far as the user's rights to see go.

    Attributes:
        org: number of the user's organisation.
        groups: numbers of the sharing groups that it is in.
        sees_all: whether the user is a site administrator.
    """

    org: int
    groups: frozenset[int]
    sees_all: bool = False

    def sees_event(self, owner: int, shared: Shared) -> bool:
        """Whether MISP shows an event of that organisation at all."""
        return self.owns(owner) or self._reaches(shared, _OF_EVENTS)

    def owns(self, owner: int) -> bool:
        """Whether MISP shows all of an event of that organisation."""
        return self.sees_all or owner == self.org

    def sees_part(self, shared: Shared) -> bool:
        """Whether MISP shows an attribute or object of an event that is shown, but not owned."""
        return self._reaches(shared, _OF_EVENTS | {_INHERITED})

    def _reaches(self, shared: Shared, levels: frozenset[int]) -> bool:
        if shared.distribution == _SHARING_GROUP:
            return shared.group in self.groups
        return shared.distribution in levels


EVERYBODY: Final = Viewer(org=0, groups=frozenset(), sees_all=True)
"""Who reads the database without a user of MISP: everything counts."""


def viewer_of(session: Session, email: str) -> Viewer | None:
    """The user of an e-mail address; None if there is none, or the user may not log in."""
    found = rows(session, _USER, email)
    if not found or found[0][0]:
        return None
    _, org, is_site_admin = found[0]
    groups = frozenset(number for (number,) in rows(session, _GROUPS, org))
    return Viewer(org, groups, bool(is_site_admin))
