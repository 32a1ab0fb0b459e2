"""The classes of indicators: what each one is made of, and where a proxy can observe it.

A class has the name of a MISP attribute type. This table is the only place that knows it:
what seals, looks up or documents a class asks here. A new class is a line in the table,
with a new canonical form (`forms.py`) or a new place of observation where it needs one.
Which front ends observe a place is said in `front_ends`, which mypy checks; that they do
is checked by tests/rules/test_classes.py, with an indicator of every class.

MISP has more types, and tomorrow's are not known: they are sealed all the same
(`class_of`), as text or a conjunction of texts.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, assert_never

from inkgate.rules.canonical.forms import (
    ADDRESS,
    AS_NUMBER,
    AUTHENTIHASH,
    EMAIL_ADDRESS,
    IMPHASH,
    LOWER,
    MD5,
    NAME,
    OF_EMAIL,
    PEHASH,
    PORT,
    SHA1,
    SHA3_224,
    SHA3_256,
    SHA3_384,
    SHA3_512,
    SHA224,
    SHA256,
    SHA384,
    SHA512,
    SHA512_224,
    SHA512_256,
    TEXT,
    UPPER,
    URL,
    URL_OR_PATH,
    CanonicalForm,
    Kind,
    digest,
)
from inkgate.rules.canonical.refused import Refused

FrontEnd = Literal["helper", "ICAP", "match"]

_TYPE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9|_./ -]{0,63}", re.ASCII)
# Names of fields in a log that can only be MISP's types, also types that we don't know.
_ONLY_MISP: Final = re.compile(
    r"[a-z0-9-]+\|[a-z0-9-]+|email-[a-z]+|[a-z0-9-]+-fingerprint-[a-z0-9]+", re.ASCII
)


class ObservedAt(enum.Enum):
    """Where a value is observed; the text is that of docs/format.md."""

    HOST_OR_PARENT = "host of a request, or a parent domain of it"
    HOST = "host of a request"
    HOST_WITH_PORT = "host and port of a request"
    HOST_WITH_ADDRESS = "host of a request with the server's address"
    URL = "URL of a request, with or without its query"
    ADDRESS = "address of the server, as the request's host or at the reply"
    ADDRESS_WITH_PORT = "address of the server with the request's port"
    USER_AGENT = "User-Agent header"
    FILE_NAME = "name of a response's file"
    BODY = "content of a response"
    FILE_NAME_WITH_BODY = "name and content of a response's file"
    CLIENT = "address of the client"
    LOG_FIELD = "field of a log"


class IndicatorClass(NamedTuple):
    """A class of indicators.

    Attributes:
        name: the MISP attribute type.
        forms: the canonical forms of its parts; one unless it is a conjunction.
        observed_at: where it is observed; none if nothing that we see can show it.
        gated: whether its host goes into the gates, since it stands for a server.
        first_alone: the class under which its first part is sealed as well.
    """

    name: str
    forms: tuple[CanonicalForm, ...]
    observed_at: tuple[ObservedAt, ...] = ()
    gated: bool = True
    first_alone: str = ""

    @property
    def kind(self) -> Kind:
        """The kind of its values, as long as no name turns out to be an address."""
        return joint_kind([form.kind for form in self.forms])

    @property
    def front_ends(self) -> tuple[FrontEnd, ...]:
        """What observes it."""
        found = {name for place in self.observed_at for name in front_ends(place)}
        return tuple(name for name in ("helper", "ICAP", "match") if name in found)


def front_ends(place: ObservedAt) -> tuple[FrontEnd, ...]:
    """What observes a place."""
    match place:
        case (
            ObservedAt.HOST_OR_PARENT
            | ObservedAt.HOST
            | ObservedAt.HOST_WITH_PORT
            | ObservedAt.HOST_WITH_ADDRESS
            | ObservedAt.URL
            | ObservedAt.ADDRESS
            | ObservedAt.ADDRESS_WITH_PORT
            | ObservedAt.USER_AGENT
        ):
            return ("helper", "ICAP", "match")
        case ObservedAt.FILE_NAME | ObservedAt.BODY | ObservedAt.FILE_NAME_WITH_BODY:
            return ("ICAP",)
        case ObservedAt.CLIENT | ObservedAt.LOG_FIELD:
            return ("match",)
        case _:
            assert_never(place)


def joint_kind(kinds: Iterable[Kind]) -> Kind:
    """The kind of a conjunction (docs/format.md, section 2.6)."""
    kinds = tuple(kinds)
    return "digest" if "digest" in kinds else next((k for k in kinds if k != "text"), "text")


def _one(name: str, form: CanonicalForm, *places: ObservedAt, gated: bool = True) -> IndicatorClass:
    return IndicatorClass(name, (form,), places, gated)


def _conjunction(
    name: str, *forms: CanonicalForm, at: tuple[ObservedAt, ...] = (), first_alone: str = ""
) -> IndicatorClass:
    return IndicatorClass(name, forms, (*at, ObservedAt.LOG_FIELD), first_alone=first_alone)


def _file(name: str, form: CanonicalForm) -> IndicatorClass:
    """A class of a file's name together with a digest or the like of its content."""
    at = (ObservedAt.FILE_NAME_WITH_BODY,) if form.algorithm else ()
    return _conjunction(name, TEXT, form, at=at)


_TABLE: Final = (
    _one("domain", NAME, ObservedAt.HOST_OR_PARENT),
    _one("hostname", NAME, ObservedAt.HOST),
    _conjunction("hostname|port", NAME, PORT, at=(ObservedAt.HOST_WITH_PORT,)),
    # MISP matches either value of the pair.
    _conjunction(
        "domain|ip", NAME, ADDRESS, at=(ObservedAt.HOST_WITH_ADDRESS,), first_alone="domain"
    ),
    _one("url", URL, ObservedAt.URL),
    _one("uri", URL_OR_PATH, ObservedAt.URL),
    _one("link", URL, ObservedAt.URL),
    _one("ip-dst", ADDRESS, ObservedAt.ADDRESS),
    _conjunction("ip-dst|port", ADDRESS, PORT, at=(ObservedAt.ADDRESS_WITH_PORT,)),
    _one("ip-src", ADDRESS, ObservedAt.CLIENT, gated=False),
    _conjunction("ip-src|port", ADDRESS, PORT)._replace(gated=False),
    _one("ip", ADDRESS),
    _one("port", PORT),
    _one("user-agent", TEXT, ObservedAt.USER_AGENT),
    _one("filename", TEXT, ObservedAt.FILE_NAME, ObservedAt.LOG_FIELD),
    _one("md5", MD5, ObservedAt.BODY, ObservedAt.LOG_FIELD),
    _one("sha1", SHA1, ObservedAt.BODY, ObservedAt.LOG_FIELD),
    _one("sha224", SHA224, ObservedAt.BODY, ObservedAt.LOG_FIELD),
    _one("sha256", SHA256, ObservedAt.BODY, ObservedAt.LOG_FIELD),
    _one("sha384", SHA384, ObservedAt.BODY, ObservedAt.LOG_FIELD),
    _one("sha512", SHA512, ObservedAt.BODY, ObservedAt.LOG_FIELD),
    _one("sha512/224", SHA512_224, ObservedAt.BODY, ObservedAt.LOG_FIELD),
    _one("sha512/256", SHA512_256, ObservedAt.BODY, ObservedAt.LOG_FIELD),
    _one("sha3-224", SHA3_224, ObservedAt.BODY, ObservedAt.LOG_FIELD),
    _one("sha3-256", SHA3_256, ObservedAt.BODY, ObservedAt.LOG_FIELD),
    _one("sha3-384", SHA3_384, ObservedAt.BODY, ObservedAt.LOG_FIELD),
    _one("sha3-512", SHA3_512, ObservedAt.BODY, ObservedAt.LOG_FIELD),
    _file("filename|md5", MD5),
    _file("filename|sha1", SHA1),
    _file("filename|sha224", SHA224),
    _file("filename|sha256", SHA256),
    _file("filename|sha384", SHA384),
    _file("filename|sha512", SHA512),
    _file("filename|sha512/224", SHA512_224),
    _file("filename|sha512/256", SHA512_256),
    _file("filename|sha3-224", SHA3_224),
    _file("filename|sha3-256", SHA3_256),
    _file("filename|sha3-384", SHA3_384),
    _file("filename|sha3-512", SHA3_512),
    _file("malware-sample", MD5),
    _file("filename|authentihash", AUTHENTIHASH),
    _file("filename|imphash", IMPHASH),
    _file("filename|pehash", PEHASH),
    _file("filename|impfuzzy", TEXT),
    _file("filename|ssdeep", TEXT),
    _file("filename|tlsh", TEXT),
    _file("filename|vhash", TEXT),
    _one("authentihash", AUTHENTIHASH, ObservedAt.LOG_FIELD),
    _one("imphash", IMPHASH, ObservedAt.LOG_FIELD),
    _one("pehash", PEHASH, ObservedAt.LOG_FIELD),
    _one("cdhash", digest("cdhash", 40, 64), ObservedAt.LOG_FIELD),
    _one("git-commit-id", digest("git-commit-id", 40, 64), ObservedAt.LOG_FIELD),
    _one("telfhash", digest("telfhash", 70, 72), ObservedAt.LOG_FIELD),
    _one("ssdeep", TEXT, ObservedAt.LOG_FIELD),
    _one("tlsh", TEXT, ObservedAt.LOG_FIELD),
    _one("ja3-fingerprint-md5", digest("ja3-fingerprint-md5", 32), ObservedAt.LOG_FIELD),
    _one("jarm-fingerprint", TEXT, ObservedAt.LOG_FIELD),
    _one("hassh-md5", digest("hassh-md5", 32), ObservedAt.LOG_FIELD),
    _one("hasshserver-md5", digest("hasshserver-md5", 32), ObservedAt.LOG_FIELD),
    _one("x509-fingerprint-md5", digest("x509-fingerprint-md5", 32), ObservedAt.LOG_FIELD),
    _one("x509-fingerprint-sha1", digest("x509-fingerprint-sha1", 40), ObservedAt.LOG_FIELD),
    _one("x509-fingerprint-sha256", digest("x509-fingerprint-sha256", 64), ObservedAt.LOG_FIELD),
    _one("regkey", TEXT, ObservedAt.LOG_FIELD),
    _conjunction("regkey|value", TEXT, TEXT),
    _one("mutex", TEXT, ObservedAt.LOG_FIELD),
    _one("AS", AS_NUMBER, ObservedAt.LOG_FIELD),
    _one("email-src", EMAIL_ADDRESS, ObservedAt.LOG_FIELD),
    _one("email-dst", EMAIL_ADDRESS, ObservedAt.LOG_FIELD),
    _one("email-reply-to", EMAIL_ADDRESS, ObservedAt.LOG_FIELD),
    _one("email-subject", OF_EMAIL, ObservedAt.LOG_FIELD),
    _one("email-attachment", OF_EMAIL, ObservedAt.LOG_FIELD),
    _one("email-body", OF_EMAIL, ObservedAt.LOG_FIELD),
    _one("email-header", OF_EMAIL, ObservedAt.LOG_FIELD),
    _one("email", EMAIL_ADDRESS),
    _one("target-email", LOWER),
    _one("whois-registrant-email", LOWER),
    _one("dns-soa-email", LOWER),
    _one("eppn", LOWER),
    _one("jabber-id", LOWER),
    _one("mac-address", LOWER),
    _one("mac-eui-64", LOWER),
    _one("hex", UPPER),
    _one("vulnerability", UPPER),
    _one("weakness", UPPER),
)

CLASSES: Final[dict[str, IndicatorClass]] = {known.name: known for known in _TABLE}
"""The known classes, by their names, in the order in which they are looked up."""


def class_of(misp_type: str) -> IndicatorClass:
    """The class of a MISP attribute type, also of one that is not in the table.

    Raises:
        Refused: no MISP type has such a name.
    """
    return CLASSES.get(misp_type) or _unknown(misp_type)


def is_observed(misp_type: str) -> bool:
    """Whether anything that a front end sees can show a value of a type.

    Raises:
        Refused: no MISP type has such a name.
    """
    return bool(class_of(misp_type).observed_at)


def classes_at(*places: ObservedAt) -> tuple[str, ...]:
    """The known classes that are observed at one of these places."""
    return tuple(
        name for name, known in CLASSES.items() if not set(places).isdisjoint(known.observed_at)
    )


def single_classes(kind: str) -> tuple[str, ...]:
    """The known classes of one part and this kind that are observed anywhere at all."""
    return tuple(
        name
        for name, known in CLASSES.items()
        if len(known.forms) == 1 and known.kind == kind and known.observed_at
    )


@functools.lru_cache(maxsize=1024)
def _unknown(misp_type: str) -> IndicatorClass:
    if not _TYPE.fullmatch(misp_type):
        raise Refused("not a MISP type")
    places = (ObservedAt.LOG_FIELD,) if _ONLY_MISP.fullmatch(misp_type) else ()
    return IndicatorClass(misp_type, tuple(map(_form, misp_type.split("|"))), places)


def _form(misp_type: str) -> CanonicalForm:
    known = CLASSES.get(misp_type)
    if known is not None and len(known.forms) == 1:
        return known.forms[0]
    return OF_EMAIL if misp_type.startswith("email") else TEXT
