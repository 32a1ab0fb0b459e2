"""What one version of inkgate wrote, as an archive for the tests of later versions.

    python tools/make_upgrade_fixture.py BIN tests/upgrade/NAME.tar.xz

BIN is the folder with the commands of the version that writes. Only its commands are used,
never its code, so any version can be recorded. All names and addresses are reserved ones.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.listed import BLOCKED, LISTED, PASSED
from support.misp import Misp, MispServer

# Nobody listens there when the archive is read: the last readings count. The address is in
# the names of files, so it stays the same.
_PORT = 9
_NAMES = 200

_SETTINGS = f"""\
[rules]
publisher = "publisher"
installed = "rules"
token_file = "token"
public_key_file = "publisher.pub"
key_cache = "run/keys"
profiles = {{ name = "test", ip = "test", url = "test", text = "test" }}
warninglists = {{ default = "off" }}
allow = ["allowed.txt"]
max_age_days = {{ "*" = 36500 }}
actions = {{ "type:hostname" = "log" }}
expires_days = 3650
pad = 8

[rules.subscribers.branch]
token_file = "branch.token"

[[rules.sources]]
type = "files"
paths = ["events"]

[[rules.sources]]
type = "list"
path = "names.txt"
indicator_type = "domain"

[[rules.sources]]
type = "feed"
location = "feed"

[[rules.sources]]
type = "misp-web"
url = "http://127.0.0.1:{_PORT}"
key_file = "misp.key"
retries = 1
first_wait = 0.01

[helper]
fail = "closed"
warm_up_hosts = 100

[icap]
listen = "127.0.0.1:1344"

[sightings]
journal = "run/sightings.db"
node = "proxy.test"
clients = "truncate"
keep_days = 36500

[sightings.misp]
url = "http://127.0.0.1:{_PORT}"
key_file = "misp.key"
attempts = 1
first_wait = 0.01
longest_wait = 0.02

[squid_conf]
organisation = "Example Ltd"
contact = "desk@organisation.example"
pages = "pages"
ttl = 2
negative_ttl = 2
"""


class _Writer:
    """Runs one version's commands in a folder."""

    def __init__(self, commands: Path, folder: Path) -> None:
        self.commands = commands
        self.folder = folder
        self.config = folder / "inkgate.toml"

    def run(self, command: str, *arguments: str, allowed: tuple[int, ...] = (0,)) -> str:
        done = subprocess.run(
            [self.commands / command, "--config", self.config, *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in allowed:
            raise SystemExit(f"{command} {arguments}: {done.returncode}\n{done.stderr}")
        return done.stdout

    def ask(self, urls: list[str]) -> list[str]:
        """What the helper answers to requests for some URLs, in their order."""
        lines = "".join(f"{n} GET {url} 192.0.2.77 - - -\n" for n, url in enumerate(urls))
        with subprocess.Popen(
            [self.commands / "inkgate-helper", "--config", self.config],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as helper:
            if helper.stdin is None or helper.stdout is None:
                raise SystemExit("the helper has no pipes")
            helper.stdin.write(lines)
            helper.stdin.flush()
            # Input ends only when all is answered, so that nothing is given up at the end.
            answers = [helper.stdout.readline().split() for _ in urls]
            helper.stdin.close()
        verdicts = {int(answer[0]): answer[1] for answer in answers}
        return [verdicts[n] for n in range(len(urls))]


def main() -> None:
    """Write the archive."""
    commands, archive = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "inkgate"
        folder.mkdir()
        _write(_Writer(commands, folder))
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "w:xz", preset=9) as file:
            file.add(folder, "inkgate", filter=_owned_by_nobody)


def _owned_by_nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _write(writer: _Writer) -> None:
    folder = writer.folder
    _sources(folder)
    writer.config.write_text(_SETTINGS)
    misp = Misp()
    misp.add_event("made up", [("domain", "from-misp.example"), ("ip-dst", "198.51.100.99")])
    with MispServer(misp, port=_PORT) as server:
        (folder / "misp.key").write_text(server.key + "\n")
        writer.run("inkgate-rules", "keygen")
        writer.run("inkgate-rules", "refresh")
        # A second generation, so that one before it is there.
        (folder / "events" / "later.json").write_text(_event(("domain", "later.example")))
        writer.run("inkgate-rules", "refresh")
        writer.run("inkgate-rules", "publish", "--for", "branch")
        asked = [url for _, url in BLOCKED] + PASSED
        asked += ["http://198.51.100.99/", "http://later.example/", "http://from-feed.example/"]
        asked += ["http://n7.listed.test/", "http://allowed.example/"]
        verdicts = writer.ask(asked)
        # Attributes of files are not known to this MISP: they are refused, which is a state, too.
        writer.run("inkgate-sightings", "report", allowed=(0, 1))
        told = [
            [s.uuid, s.attribute.uuid, s.source] for s in sorted(misp.sightings.values(), key=str)
        ]
        attributes = [[a.uuid, str(a.event.id), a.type] for a in misp.attributes.values()]
    # More incidents, which wait in the outbox, then some that nobody has looked at.
    asked_later = ["http://from-misp.example/", *asked[:4]]
    verdicts += writer.ask(asked_later)[:1]
    writer.run("inkgate-sightings", "report", allowed=(1, 2))
    writer.ask(["http://from-misp.example/again", asked[0]])
    asked.append(asked_later[0])
    time.sleep(1)  # the journal is written after the answer
    writer.run("inkgate-rules", "export", str(folder / "rules.inkgate"))
    writer.run("inkgate-squid-conf", "pages")
    fragment = writer.run("inkgate-squid-conf", "fragment")
    (folder / "inkgate.conf").write_text(_without_places(fragment, writer))
    incidents = writer.run("inkgate-sightings", "list", "--json").splitlines()
    written = {
        "folder": str(folder),
        "asked": dict(zip(asked, verdicts, strict=True)),
        "incidents": [json.loads(line) for line in incidents],
        "told": told,
        "attributes": attributes,
        "manifest": json.loads(writer.run("inkgate-rules", "inspect", "--json")),
    }
    (folder / "written.json").write_text(json.dumps(written, indent=1, sort_keys=True))
    shutil.rmtree(folder / "pages" / "__pycache__", ignore_errors=True)


def _without_places(fragment: str, writer: _Writer) -> str:
    return fragment.replace(str(writer.folder), "@FOLDER@").replace(str(writer.commands), "@BIN@")


def _sources(folder: Path) -> None:
    (folder / "run").mkdir()
    events = folder / "events"
    events.mkdir()
    attributes = [(str(a["type"]), str(a["value"])) for a in LISTED.values() if a["to_ids"]]
    (events / "listed.json").write_text(_event(*attributes))
    (folder / "names.txt").write_text("".join(f"n{n}.listed.test\n" for n in range(_NAMES)))
    (folder / "allowed.txt").write_text("allowed.example\n")
    (folder / "branch.token").write_text("b" * 43 + "\n")
    feed = folder / "feed"
    feed.mkdir()
    name = str(uuid.uuid4())
    (feed / f"{name}.json").write_text(
        _event(("domain", "from-feed.example"), ("domain", "allowed.example"), name=name)
    )
    (feed / "manifest.json").write_text(json.dumps({name: {"timestamp": "1"}}))


def _event(*attributes: tuple[str, str], name: str = "") -> str:
    listed = [
        {"uuid": str(uuid.uuid4()), "type": kind, "value": value, "to_ids": True}
        for kind, value in attributes
    ]
    event = {"id": "7", "uuid": name or str(uuid.uuid4()), "info": "made up", "date": "2026-01-01"}
    return json.dumps({"Event": {**event, "published": True, "Attribute": listed}})


if __name__ == "__main__":
    main()
