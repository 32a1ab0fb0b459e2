"""A made-up indicator of every class, and how each front end comes to see it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from inkgate.rules.canonical.classes import CLASSES, FrontEnd, ObservedAt, front_ends
from inkgate.rules.canonical.forms import CanonicalForm
from support.icap import Icap, chunked, http_request, http_response, reqmod, respmod
from support.installation import BIN, Installation, attribute

FRONT_ENDS: tuple[FrontEnd, ...] = ("helper", "ICAP", "match")
# The number of an indicator that is in no rule.
UNLISTED = 250


class Observation(NamedTuple):
    """What a client does and a server answers, or what a log tells of it.

    Attributes:
        content: of the response; None if only its head or nothing of it is looked at.
    """

    url: str = "http://clean.test/"
    server: str = ""
    user_agent: str = "Browser/1.0"
    client: str = "192.0.2.1"
    content: bytes | None = None
    log: Mapping[str, str] = {}


def part(form: CanonicalForm, number: int) -> str:
    """A value of a form that no other number has, as it is in MISP."""
    match form.kind:
        case "name":
            return f"host{number}.example"
        case "ip":
            return f"198.51.100.{number}"
        case "url":
            return f"http://url{number}.example/bad"
        case "digest":
            name = form.algorithm or "shake_256"
            digest = hashlib.new(name, content(number))
            return digest.hexdigest() if form.algorithm else digest.hexdigest(form.lengths[0] // 2)
        case "text":
            # Also a port and the number of an autonomous system.
            return f"{10_000 + number}"


def content(number: int) -> bytes:
    return b"content %d" % number


def parts(name: str, number: int) -> list[str]:
    return [part(form, number) for form in CLASSES[name].forms]


# How a value is seen, from its parts and its number.
_SHOWN: dict[ObservedAt, Callable[[list[str], int], Observation]] = {
    ObservedAt.HOST_OR_PARENT: lambda p, _: Observation(f"http://below.{p[0]}/"),
    ObservedAt.HOST: lambda p, _: Observation(f"http://{p[0]}/"),
    ObservedAt.HOST_WITH_PORT: lambda p, _: Observation(f"http://{p[0]}:{p[1]}/"),
    ObservedAt.HOST_WITH_ADDRESS: lambda p, _: Observation(f"http://{p[0]}/", server=p[1]),
    ObservedAt.URL: lambda p, _: Observation(f"{p[0]}?more"),
    ObservedAt.ADDRESS: lambda p, _: Observation(server=p[0]),
    ObservedAt.ADDRESS_WITH_PORT: lambda p, _: Observation(
        f"http://clean.test:{p[1]}/", server=p[0]
    ),
    ObservedAt.USER_AGENT: lambda p, _: Observation(user_agent=p[0]),
    ObservedAt.FILE_NAME: lambda p, _: Observation(f"http://clean.test/{p[0]}", content=b"any"),
    ObservedAt.BODY: lambda _, number: Observation(content=content(number)),
    ObservedAt.FILE_NAME_WITH_BODY: lambda p, number: Observation(
        f"http://clean.test/{p[0]}", content=content(number)
    ),
    ObservedAt.CLIENT: lambda p, _: Observation(client=p[0]),
}


def observation(place: ObservedAt, name: str, number: int) -> Observation:
    """An indicator of a class, seen at a place."""
    values = parts(name, number)
    if place == ObservedAt.LOG_FIELD:
        return Observation(log={name: "|".join(values)})
    assert place in _SHOWN, f"nothing here shows a value at {place}"
    return _SHOWN[place](values, number)


def every_class() -> Installation:
    """An installation with one indicator of each class, and none that makes two rules."""
    made = Installation()
    made.configure("domain_ip_by_domain = false")
    made.add(
        "listed",
        *(
            attribute(name, "|".join(parts(name, number)))
            for number, name in enumerate(CLASSES)
            if CLASSES[name].observed_at
        ),
    )
    made.refresh()
    return made


def observed_by(front_end: FrontEnd, name: str) -> Iterable[ObservedAt]:
    return (place for place in CLASSES[name].observed_at if front_end in front_ends(place))


def blocked_by_helper(installation: Installation, seen: list[Observation]) -> list[bool]:
    """Whether a helper says so, one observation after the other."""
    lines = [
        f"{n} GET {o.url} {o.client} {o.server or '-'} {o.user_agent or '-'} -\n"
        for n, o in enumerate(seen)
    ]
    done = subprocess.run(
        [BIN / "inkgate-helper", "--config", installation.config],
        input="".join(lines),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answers = dict(line.split(" ", 2)[:2] for line in done.stdout.splitlines())
    return [answers[str(n)] == "OK" for n in range(len(seen))]


def blocked_by_icap(icap: Icap, seen: list[Observation]) -> list[bool]:
    """Whether an ICAP server answers with the blocked page, at the request or the reply."""
    return [_icap_blocks(icap, one) for one in seen]


def _icap_blocks(icap: Icap, seen: Observation) -> bool:
    request = http_request(seen.url, User_Agent=seen.user_agent)
    if not seen.server and seen.content is None:
        answer = icap.ask(reqmod(request))
    else:
        extra = f"X-Server-IP: {seen.server}\r\n" if seen.server else ""
        body = seen.content or b"any"
        response = http_response(len(body))
        answer = icap.ask(respmod(request, response, chunked(body), extra=extra))
    return answer.status == 200 and answer.http_status == 403


def found_in_log(installation: Installation, seen: list[Observation]) -> list[set[str]]:
    """The classes that `inkgate-rules match` finds in each line of a log."""
    log = installation.folder / "log.json"
    lines = [
        {
            "method": "GET",
            "url": o.url,
            "ip-src": o.client,
            "ip-dst": o.server,
            "user_agent": o.user_agent,
            **o.log,
        }
        for o in seen
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = installation.run("inkgate-rules", "match", "--json", "--format", "json", str(log))
    assert done.returncode in (0, 1), done.stderr
    found: list[set[str]] = [set() for _ in seen]
    for text in done.stdout.splitlines():
        match = json.loads(text)
        found[match["line"] - 1].add(match["class"])
    return found
