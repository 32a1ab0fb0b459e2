"""inkgate with a MISP of your own: what is read is what was made, what is seen is told once.

    python tests/trials/real_misp.py --url https://misp.example.org --key-file misp.key
    python tests/trials/real_misp.py --url https://misp.example.org --dry-run

It makes events with a tag of its own, for your organisation only, publishes, changes and
deletes them, reads them into rules, reports sightings of them while answers are spoiled on the
way, and removes them at the end, also after a failure or Ctrl-C. Other events are not touched.
First it says what it will do, and asks. The key needs the rights to add, modify and publish
events, to make and attach tags, and to add sightings; it needs no administrator.

With --dry-run the same is done to a simulated MISP on this machine; printed are the steps, and
the requests that yours would get. Nothing is sent to yours.

Ends with 0 if all is as it should be, with 1 if not or if something could not be removed, and
with 77 if it lacks something or was not allowed to begin.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).parents[1]))

from inkgate.config.errors import InkgateError
from inkgate.config.secret import read_secret
from inkgate.misp.address import place_of
from inkgate.misp.connector import Connector
from support.http_relay import HttpRelay
from support.installation import Installation
from support.misp import MispServer, Role
from support.real_misp import RIGHTS, TYPES, Workshop
from support.real_misp_steps import NOT_TRIED, STEPS, Course, LeftOutError, Login

LACKING = 77
_LONGEST_BODY = 150

Found = dict[str, Any]


def main() -> None:
    options = _options()
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    _reach_this_machine_directly()
    if not options.url:
        _leave("no --url: see docs/own-misp.md")
    with ExitStack() as stack:
        watched = _Watched()
        if options.dry_run:
            server = stack.enter_context(MispServer())
            server.keys = {server.key: Role(), "read-only": Role(read_only=True)}
            server.before = watched.note
            login = Login(server.url, server.key, "read-only")
        else:
            login = _login(options)
        connector = Connector(
            login.url,
            login.key,
            ca_file=Path(login.ca_file) if login.ca_file else None,
            verify_tls=login.verify,
            timeout=120,
            retries=3,
        )
        workshop = Workshop(connector, f'inkgate:trial="{options.name}"', options.seed)
        try:
            _begin(options, workshop)
        except InkgateError as error:
            _leave(str(error))
        installation = Installation()
        stack.callback(installation.close)
        relay = stack.enter_context(HttpRelay(login.url, login.trusted))
        course = Course(
            login,
            workshop,
            installation,
            relay,
            events=options.events,
            attributes=options.attributes,
            kills=options.kills,
            seed=options.seed,
        )
        results = _run(course, options, watched)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")
    sys.exit(0 if results["ok"] else 1)


def _begin(options: argparse.Namespace, workshop: Workshop) -> None:
    """Say what will be done, to whom and as whom; go on only if that is wanted."""
    owner = workshop.owner()
    role = owner.get("Role", {})
    if lacking := [name for name in (*RIGHTS, "perm_sighting") if not role.get(name)]:
        _leave(f"the key's role lacks {', '.join(lacking)}")
    if count := workshop.tagged():
        _leave(f"{count} events have the tag {workshop.tag} already: delete them, or name another")
    whose = (
        f"{owner['User'].get('email')}, role {role.get('name')}, "
        f"organisation {owner.get('Organisation', {}).get('name')}"
    )
    print(
        f"MISP:    {place_of(options.url)}{' (dry run: is not asked)' if options.dry_run else ''}\n"
        f"user:    {'the owner of your key' if options.dry_run else whose}\n"
        f"makes:   about {_event_count(options)} events with the tag {workshop.tag}, for this "
        "organisation only,\n"
        "         publishes, changes and deletes them, and adds sightings to them\n"
        f"removes: {'nothing (--keep)' if options.keep else 'all of them, and the tag'}",
        flush=True,
    )
    if options.yes or options.dry_run:
        return
    if not sys.stdin.isatty():
        _leave("not confirmed: --yes, or a terminal")
    try:
        answer = input("Go on? [y/N] ")
    except (EOFError, KeyboardInterrupt):
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        _leave("not confirmed")


def _event_count(options: argparse.Namespace) -> int:
    # Those of the first reading for all types, and what the other steps make.
    return int(options.events) - -len(TYPES) // int(options.attributes) + len(STEPS) + 3


def _run(course: Course, options: argparse.Namespace, watched: _Watched) -> Found:
    results: list[Found] = []
    left: list[str] = []
    interrupted = False
    try:
        for name, step in STEPS.items():
            if options.only and name not in options.only:
                continue
            course.relay.restore()
            course.configure()
            results.append(_tried(name, lambda step=step: step(course)))  # type: ignore[misc]
            watched.tell(is_told=options.dry_run)
    except KeyboardInterrupt:
        interrupted = True
        print("interrupted", flush=True)
    finally:
        if not options.keep:
            left = _removed(course.workshop)
    print("not tried:", *NOT_TRIED, sep="\n  ", flush=True)
    is_good = not interrupted and not left and all(r["result"] != "FAILED" for r in results)
    return {
        "ok": is_good,
        "interrupted": interrupted,
        "tag": course.workshop.tag,
        "seed": options.seed,
        "steps": results,
        "not removed": left,
        "not tried": NOT_TRIED,
    }


def _tried(name: str, step: Callable[[], dict[str, int | str]]) -> Found:
    started = time.monotonic()
    found: Found = {"step": name, "result": "ok"}
    try:
        found |= step()
    except LeftOutError as error:
        found |= {"result": "left out", "why": str(error)}
    except Exception as error:  # noqa: BLE001 (whatever it is, the other steps are tried, too)
        # Of what is not expected the kind is told first.
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        found |= {"result": "FAILED", "why": f"{kind}{error}"}
    found["seconds"] = round(time.monotonic() - started, 1)
    figures = [f"{k} {v}" for k, v in found.items() if k not in ("step", "result", "why")]
    why = [found["why"]] if "why" in found else []
    print(f"{found['result']:<8}  {name}: {', '.join(why + figures)}", flush=True)
    return found


def _removed(workshop: Workshop) -> list[str]:
    """Remove what was made; what is left."""
    try:
        left = workshop.remove()
    except KeyboardInterrupt:
        left = [f"events with the tag {workshop.tag}"]
    print("\n  ".join(["FAILED    removed all but:", *left]) if left else "ok        all removed")
    return left


class _Watched:
    """The requests that a simulated MISP gets."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def note(self, path: str, body: Any) -> None:
        text = json.dumps(body, ensure_ascii=False)
        if len(text) > _LONGEST_BODY:
            text = f"{text[:_LONGEST_BODY]}… ({len(text)} characters)"
        self._lines.append(f"{path} {text if body else ''}".rstrip())

    def tell(self, *, is_told: bool) -> None:
        """Print the requests since the last time, those of one kind once."""
        first: dict[str, str] = {}
        kinds = Counter(map(_kind, self._lines))
        for line in self._lines:
            first.setdefault(_kind(line), line)
        self._lines.clear()
        if is_told:
            for kind, line in first.items():
                print(f"{kinds[kind]:>8} x {line}", flush=True)


def _kind(line: str) -> str:
    """The controller and what it is asked for."""
    return "/".join(line.partition(" ")[0].split("/")[:3])


def _login(options: argparse.Namespace) -> Login:
    try:
        keys = [
            read_secret(path.resolve(), "", place_of(options.url)) if path else ""
            for path in (options.key_file, options.read_only_key_file)
        ]
    except InkgateError as error:
        _leave(str(error))
    if not keys[0]:
        _leave("no --key-file")
    ca_file = str(options.ca_file.resolve()) if options.ca_file else ""
    return Login(options.url, keys[0], keys[1], ca_file, not options.no_verify)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="", help="of the MISP, with its path if it has one")
    parser.add_argument("--key-file", type=Path, help="the key of one of its users")
    parser.add_argument("--read-only-key-file", type=Path, help="a read-only key, if you have one")
    parser.add_argument("--ca-file", type=Path, help="certificates to trust")
    parser.add_argument("--no-verify", action="store_true", help="trust anybody on the way")
    parser.add_argument("--events", type=_number, default=10, help="that readings begin with")
    parser.add_argument("--attributes", type=_number, default=20, help="of each event")
    parser.add_argument("--kills", type=_number, default=5, help="of reporters")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--name", default=secrets.token_hex(4), help="of this run, in its tag")
    parser.add_argument("--only", action="append", choices=list(STEPS), help="this step alone")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.add_argument("--keep", action="store_true", help="remove nothing at the end")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", type=Path, help="write the results to this file")
    return parser.parse_args()


def _number(text: str) -> int:
    number = int(text)
    if number < 2:
        raise argparse.ArgumentTypeError("at least 2")
    return number


def _reach_this_machine_directly() -> None:
    """The relay is on this machine, whatever proxy the environment names."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, (os.environ.get(name), "127.0.0.1")))


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt


def _leave(why: str) -> NoReturn:
    print(why)
    sys.exit(LACKING)


if __name__ == "__main__":
    main()
