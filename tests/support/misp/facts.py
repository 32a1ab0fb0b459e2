"""How a real MISP behaves where one would expect otherwise, measured with MISP 2.5.1.

Reporter, reader and this simulator have one author. So each fact is a switch: a test turns
it round, and then a test of the reporter or reader has to fail (`tests/misp/test_facts.py`).
The exchanges are shortened: `->` is what a user without administrator's rights got.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Facts:
    """True is what the real one does."""

    # POST /sightings/restSearch/attribute {"id": 7, …} -> 200, its sightings
    # POST /sightings/restSearch/attribute {"id": "7", …} -> 400 "Invalid ID `7` provided."
    # POST /sightings/restSearch/attribute {"id": "5f…-uuid", …} -> 400 "Invalid ID …"
    ids_are_numbers: bool = True

    # POST /sightings/restSearch/attribute {"uuid": "5f…" or ["5f…", …], …} -> 200, theirs
    # POST /sightings/restSearch/event {"uuid": ["5e…"], …} -> 200, {"uuid": "5e…"} -> 500
    searches_by_uuid: bool = True

    # POST /sightings/restSearch/attribute {"id": 7} or {"id": 7, "from": 1} -> those of the
    # last 30 days; {"id": 7, "from": 1, "to": 1800000000} -> all
    from_and_to_are_taken: bool = True

    # One at 1700000000: {"from": 1700000000, "to": 1700000000, …} -> that one
    bounds_are_inclusive: bool = True

    # POST /sightings/bulkSaveSightings/5 {"Sighting": [good, one with type "9", or with a
    # uuid that is none, or without source]} -> 200 {"saved": false, "success": "No sightings
    # added."}, and none is saved; with a source of 300 characters -> 500, and none is saved
    bulk_is_all_or_nothing: bool = True

    # The same request again -> 200 {"saved": false, …}, with one more in it -> 200 {"saved":
    # true, "success": "1 sightings added."}
    bulk_skips_known_uuids: bool = True

    # One of an attribute that was hard-deleted, among good ones -> 200 {"saved": true,
    # "success": "2 sightings added."}; of one that was soft-deleted -> it is saved
    bulk_takes_soft_deleted: bool = True

    # POST /sightings/bulkSaveSightings/4711 -> 405 "Event not found or not accessible by
    # this user."; /sightings/bulkSaveSightings/5e…-uuid -> as with its number
    unknown_event_is_405: bool = True

    # An attribute of an event of another organisation with distribution 0, or 4 with a
    # sharing group without the own one: not in answers, bulkSaveSightings -> passed over
    distribution_hides: bool = True

    # Sightings_policy 0, event of another organisation: the own sightings are shown, those
    # of third ones are not
    own_sightings_are_shown: bool = True

    # A tag with exportable = 0: not in the answers of attributes/restSearch
    unexportable_tags_are_hidden: bool = True

    # live = 0: POST /attributes/restSearch -> 302 Location: /users/login, GET /users/login
    # -> 302 Location: /users/login
    maintenance_redirects: bool = True

    # The third of two restSearch that a minute has -> 429, X-Rate-Limit-Reset: 42, and no
    # Retry-After; bulkSaveSightings is not counted
    limits_are_of_searches: bool = True

    # From a front end with client_max_body_size 1m: 413, text/html, closed
    front_end_names_the_size: bool = True

    # POST /sightings/add/5f…-uuid of an attribute that is not there -> 200 {"message":
    # "Could not add the Sighting. Reason: No valid attributes found that match the criteria."}
    add_refuses_with_200: bool = True


@dataclass
class Instance:
    """What its administrator has set. May be changed at any time.

    Attributes:
        sightings_policy: 0 the event's owner and the own ones, 1 who has sighted in the
            event, too, 2 everybody, 3 as measured at 0 for the host's organisation alone.
        host_org: the organisation of the host.
        loads_sightings: False with `MISP.disable_sighting_loading`: searches answer [].
        is_live: False in maintenance.
        maintenance_status: what requests get then: 302, 405 or 503.
        searches_a_minute: of one user; 0 for no limit.
        most_bytes: of a request, by a server in front of it; 0 for no limit.
        slow_sightings: so many sightings in one request never end; 0: none are too many.
        invalid_sources: sources of sightings that a plug-in finds invalid.
        failing_sources: sources of sightings at which it fails.
        answer_seconds: how long each answer takes.
    """

    sightings_policy: int = 0
    host_org: str = "HOST"
    loads_sightings: bool = True
    is_live: bool = True
    maintenance_status: int = 302
    searches_a_minute: int = 0
    most_bytes: int = 0
    slow_sightings: int = 0
    invalid_sources: set[str] = field(default_factory=set)
    failing_sources: set[str] = field(default_factory=set)
    answer_seconds: float = 0.0
