"""What a log says of the traffic: how many requests, and how many of them to new names."""

from __future__ import annotations

from typing import Final, NamedTuple

from inkgate.rules.match.input.files import file_chunks
from inkgate.rules.match.logs.clean_log_parts import CleanLogParts, host_key
from inkgate.rules.match.logs.registry import AUTO, open_reader
from inkgate.rules.match.logs.times import parse_time

_MAX_HOSTS: Final = 2_000_000


class Traffic(NamedTuple):
    """A log in numbers.

    Attributes:
        hosts: distinct hosts, counted up to two million.
        seconds: between its first and its last line; 0 if its times cannot be read.
    """

    requests: int
    hosts: int
    seconds: float

    @property
    def new(self) -> float:
        """Part of the requests that went to a host not seen before."""
        return self.hosts / self.requests if self.requests else 0.0


def traffic_of(path: str) -> Traffic:
    """Read a log.

    Raises:
        MatchError: it cannot be read.
    """
    hosts: set[int] = set()
    requests = 0
    first = last = None
    for chunk in file_chunks(path, AUTO):
        if chunk is None:
            continue
        text = chunk.text.decode("utf-8", "surrogateescape")
        reader = open_reader(chunk.format, chunk.header)
        for _, entry in reader.entries_to_look_up(text, CleanLogParts(1)):
            if entry is None or not entry.uri:
                continue
            requests += 1
            last = parse_time(entry.time) or last
            first = first or last
            if len(hosts) < _MAX_HOSTS:
                hosts.add(hash(host_key(entry.uri)))
    return Traffic(requests, len(hosts), (last or 0.0) - (first or 0.0))
