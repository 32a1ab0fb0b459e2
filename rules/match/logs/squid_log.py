"""Squid's access.log, in any logformat (squid.conf manual, logformat)."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, zip_longest
from typing import Final

from inkgate.rules.lookup.clean_parts import HOST_FROM
from inkgate.rules.match.logs.clean_log_parts import CleanLogParts
from inkgate.rules.match.logs.entry import MAX_LINE, Entry
from inkgate.rules.match.logs.log_format import LogFormat, no_header
from inkgate.rules.match.logs.reader import NumberedEntries
from inkgate.rules.match.logs.squid_format import BUILT_IN_FORMATS, Cells, cells_of, compile_format
from inkgate.rules.match.logs.squid_quoting import (
    MOST_URLS,
    MOST_VALUES,
    is_plain,
    urls_of,
    values_of,
)
from inkgate.rules.match.logs.squid_wide import shortened, wide_readings

_ABSENT: Final = "-"
# Squid writes `error:invalid-request` and similar words instead of a URI that it could
# not read.
_ERROR: Final = "error:"


class SquidLog:
    """Reads lines of one logformat.

    Args:
        text: the format in Squid's codes, or `squid`, `common`, `combined`.

    Raises:
        FormatError: it cannot be read.
    """

    def __init__(self, text: str) -> None:
        fields = compile_format(text)
        self._pattern = fields.pattern
        self._positions = {name: position for position, name in enumerate(fields.names)}
        self._bad = len(fields.names)
        self._quotings = fields.quotings
        self._wide = fields.wide
        self._with_more = fields.with_more
        self._cells = cells_of(BUILT_IN_FORMATS.get(text, text))

    def entry(self, line: str) -> Entry | None:
        """What one line shows."""
        found = self._pattern.match(line[:MAX_LINE])
        return None if found is None else self._entry(found.groups(""))

    def entries_to_look_up(self, text: str, clean: CleanLogParts) -> NumberedEntries:
        """Entries of all lines but those that are known to be clean."""
        if self._cells is not None:
            return self._split(text, clean, self._cells)
        return self._search(text, clean)

    def _split(self, text: str, clean: CleanLogParts, cells: Cells) -> NumberedEntries:
        count, at_uri, at_server, at_client = cells
        hosts, servers, clients = clean.hosts.young, clean.servers.young, clean.clients.young
        for number, line in enumerate(text.split("\n")):
            parts = line.split()
            # For most lines of a log this test is all: every part is known to be clean.
            if len(parts) == count:
                uri = parts[at_uri]
                end = uri.find("/", HOST_FROM)
                key = uri if end < 0 else uri[:end]
                server = parts[at_server].rpartition("/")[2]
                if (
                    key in hosts
                    and server in servers
                    and parts[at_client] in clients
                    # As `is_plain` has it: what is encoded is looked up as what it stands for.
                    and "%" not in key
                    and "\\" not in key
                ):
                    continue
            found = self._pattern.match(line)
            if found is not None:
                yield from self._read(number, found.groups(""))

    def _search(self, text: str, clean: CleanLogParts) -> NumberedEntries:
        key, server, agent, client = (
            self._positions.get(name, self._bad) for name in ("key", "server", "agent", "client")
        )
        hosts, servers = clean.hosts.young, clean.servers.young
        agents, clients = clean.agents.young, clean.clients.young
        if "key" not in self._positions or {"sni", "host"} & set(self._positions):
            hosts = {}
        for number, groups in enumerate(self._pattern.findall(text)):
            if (
                groups[key] in hosts
                and groups[server] in servers
                and groups[agent] in agents
                and groups[client] in clients
                # What is encoded is looked up as what it stands for.
                and is_plain(groups[agent])
                and is_plain(groups[key])
            ):
                continue
            yield from self._read(number, groups)

    def _read(self, number: int, groups: tuple[str, ...]) -> NumberedEntries:
        entry = self._entry(groups)
        # Empty lines are skipped, not counted as unreadable.
        if entry is not None or groups[self._bad]:
            yield number, entry

    def _entry(self, groups: tuple[str, ...]) -> Entry | None:
        if line := groups[self._bad]:
            readings = self._readings(line.removesuffix("\r")[:MAX_LINE])
            return self._entry_of(readings) if readings else None
        if not any(groups):
            return None
        return self._entry_of([self._named(groups)])

    def _named(self, groups: Sequence[str]) -> Mapping[str, str]:
        found = {name: groups[position] for name, position in self._positions.items()}
        return found | {"uri": found.get("key", "") + found.get("rest", "")}

    def _readings(self, line: str) -> list[Mapping[str, str]]:
        """What a line may be read as that the pattern does not match, the likeliest first."""
        if self._with_more is None:
            return wide_readings(self._wide, line)
        found = self._with_more.match(line)
        readings = [] if found is None else [self._named(found.groups(""))]
        for text in (line, *shortened(line)):
            readings += wide_readings(self._wide, text)
        return readings

    def _entry_of(self, readings: Sequence[Mapping[str, str]]) -> Entry:
        """What a line shows; all that it can be read as."""
        get = {
            name: "" if text == _ABSENT else text
            for name, text in readings[0].items()
            if name not in ("uri", "agent")
        }
        uris = _distinct((self._uris(reading) for reading in readings), MOST_URLS)
        agents = _distinct((self._values(reading, "agent") for reading in readings), MOST_VALUES)
        time = get.get("time") or get.get("local", "")
        if fraction := get.get("fraction"):
            time = f"{time}.{fraction}"
        sni = get.get("sni", "")
        return Entry(
            time=time,
            client=get.get("client", ""),
            method=get.get("method", ""),
            uri=uris[0],
            server=get.get("server", ""),
            port=get.get("port", ""),
            user_agent=agents[0],
            names=(sni,) if sni else (),
            readings=(*((uri, "") for uri in uris[1:]), *(("", agent) for agent in agents[1:])),
        )

    def _uris(self, reading: Mapping[str, str]) -> Iterator[str]:
        hosts = self._values(reading, "host")
        for text in self._values(reading, "uri"):
            is_whole = bool(text) and not text.startswith("/")
            for host in hosts[:1] if is_whole else hosts:
                yield _uri(text, host)

    def _values(self, reading: Mapping[str, str], name: str) -> tuple[str, ...]:
        # A width may have put spaces behind it.
        text = reading.get(name, "").rstrip(" ")
        if not text or text == _ABSENT:
            return ("",)
        return (urls_of if name == "uri" else values_of)(text, self._quotings[name])


def _distinct(readings: Iterable[Iterable[str]], most: int) -> tuple[str, ...]:
    """All values, but the first ones of each reading before the others: they are likelier."""
    values = [list(islice(reading, most)) for reading in readings]
    turns = chain.from_iterable(zip_longest(*values, fillvalue=None))
    return tuple(islice(dict.fromkeys(text for text in turns if text is not None), most))


def _uri(uri: str, host: str) -> str:
    if uri.startswith(_ERROR):
        return ""
    if not uri:
        return f"//{host}/" if host else ""
    if uri.startswith("/"):
        # The log of a web server has only the path.
        return f"//{host}{uri}" if host else ""
    return uri


@functools.lru_cache(maxsize=16)
def _compiled(text: str) -> SquidLog:
    return SquidLog(text)


def _open(text: str, _header: str) -> SquidLog:
    return _compiled(text)


def _is_line(name: str, line: str) -> bool:
    # Lines that begin with `#` are comments, for instance at the beginning of Zeek's logs.
    return not line.startswith("#") and _compiled(name).entry(line) is not None


def _is_common(line: str) -> bool:
    # A combined line begins like a common line, so both patterns fit it.
    return _is_line("common", line) and not _is_line("combined", line)


SQUID: Final = LogFormat("squid", functools.partial(_is_line, "squid"), _open, no_header)
COMMON: Final = LogFormat("common", _is_common, _open, no_header)
COMBINED: Final = LogFormat("combined", functools.partial(_is_line, "combined"), _open, no_header)
# A logformat cannot be recognised by a line. The operator must give it.
LOGFORMAT: Final = LogFormat("a logformat of squid.conf", lambda _line: False, _open, no_header)
