"""A MISP in memory behind real HTTP on 127.0.0.1, to be driven by the real PyMISP.

It answers what inkgate asks of a MISP, in the forms of MISP's API description
(misp-openapi) and with the semantics of MISP 2.5 that matter to a reader: an edit
unpublishes its event, warninglist and decay filters act after paging, sightings are
idempotent by UUID only where MISP is.

    with MispServer() as server:
        event = server.misp.add_event("made up", [("domain", "listed.example")])
        PyMISP(server.url, server.key)
        server.misp.sightings          # what was reported
        server.misp.truth()            # what should be sealed now
"""

from support.misp.answers import Role
from support.misp.changes import Changes
from support.misp.facts import Facts, Instance
from support.misp.faults import Faults
from support.misp.server import MispServer
from support.misp.store import Attribute, Event, Misp, Sighting

__all__ = [
    "Attribute",
    "Changes",
    "Event",
    "Facts",
    "Faults",
    "Instance",
    "Misp",
    "MispServer",
    "Role",
    "Sighting",
]
