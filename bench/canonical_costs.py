"""Milliseconds that the canonical forms of what a client can send take, for the worst there is.

URLs of 8 KB and hosts of 2 KB, made of pieces that are repeated: those of which the tests know
that they take many steps, and the worst that a search of this run finds. Beside them stand a
usual URL, and urllib.parse.urlsplit with one unquote, which look at the same text once. Prints
a table and writes bench/results/canonical_costs.json.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

from harness.arguments import Arguments
from harness.machine import describe, save, table
from inkgate.rules.canonical import Refused, observed_authority, observed_url

_URL_BYTES: Final = 8192
_HOST_BYTES: Final = 8192
# A name that is mapped has no more characters.
_UNMAPPED: Final = 1024
_USUAL: Final = "http://www.host.example/a/b/page.html?id=1&name=%C3%BC"
_OF_URLS: Final = (
    "%25", "%2525", "%%32%35", "%2%35", "%252541", "%", "25", "%3", "2", "/", "/../", "//../", ";",
    "\\", "%2f", "%252f", "%5c", "a", "/..;/", "%2e", "?", "\u00fc", "\0", "%5c", "///",
)  # fmt: skip
_OF_HOSTS: Final = (
    "a.", "x" * 60 + ".", "\u4e2d\u6587", "\u4e2d.", "\u0301", "\u200d\u0915", "\ufdfa", "\u00ad",
    "..", "%25", "%", "3", "\u0344", "\u0f73", "\u0334", "\u094d",
    "a\u200d.", "\ufe19.", "xn--", "\u3002", "\U0001f600", "\u00df", "@", "1.", "0x",
)  # fmt: skip
_KNOWN: Final = {
    "escapes from the inside": "%" * (_URL_BYTES // 3) + "25" * (_URL_BYTES // 3),
    "many %3, then 2": "%3" * (_URL_BYTES // 2 - 20) + "2",
    "the same, then up": "%3" * (_URL_BYTES // 2 - 20) + "2/../x",
    "slashes": "/" * _URL_BYTES,
    "ways up": "/../" * (_URL_BYTES // 4),
    "parameters": "/..;/a" * (_URL_BYTES // 6),
}


def milliseconds(act: Callable[[str], object], text: str, times: int) -> float:
    """The least of some runs."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        with contextlib.suppress(Refused, ValueError):
            act(text)
        found.append(time.perf_counter() - began)
    return 1000 * min(found)


def searched(act: Callable[[str], object], made: Callable[[list[str]], str],
             pieces: tuple[str, ...], rounds: int, draw: random.Random) -> str:  # fmt: skip
    """The text that took longest in a search that changes the best so far."""
    best = [draw.choice(pieces)]
    longest = 0.0
    for _ in range(rounds):
        other = list(best)
        for _ in range(draw.randint(1, 3)):
            at = draw.randint(0, len(other))
            if len(other) > 1 and draw.random() < 0.4:
                del other[min(at, len(other) - 1)]
            else:
                other.insert(at, draw.choice(pieces))
        took = milliseconds(act, made(other), 2)
        if took > longest:
            best, longest = other, took
    return made(best)


def main() -> None:
    parser = Arguments(__doc__, rounds=20, times=2)
    parser.add_argument("--rounds", type=int, default=4_000, help="of each search")
    parser.add_argument("--times", type=int, default=15, help="of which the least counts")
    parser.add_argument("--seed", type=int, default=22)
    options = parser.read()
    machine = describe()
    draw = random.Random(options.seed)

    def url_of(pieces: list[str]) -> str:
        return "http://host.example/" + _cut("".join(pieces), _URL_BYTES - 20)

    def host_of(pieces: list[str]) -> str:
        return f"http://{(''.join(pieces) * _HOST_BYTES)[:_HOST_BYTES]}/"

    def short_host_of(pieces: list[str]) -> str:
        return f"http://{(''.join(pieces) * _UNMAPPED)[:_UNMAPPED]}/"

    def ftp_url_of(pieces: list[str]) -> str:
        return f"ftp://host.example/{_cut(''.join(pieces), _URL_BYTES - 30)}/..;type=a"

    urls = {name: f"http://host.example/{text}"[:_URL_BYTES] for name, text in _KNOWN.items()}
    urls["worst that was found"] = searched(observed_url, url_of, _OF_URLS, options.rounds, draw)
    urls["worst by ftp"] = searched(observed_url, ftp_url_of, _OF_URLS, options.rounds, draw)
    hosts = {piece: host_of([piece]) for piece in _OF_HOSTS}
    hosts |= {
        "marks out of order": f"http://{chr(0x344) * 512}{chr(0xF73) * 512}/",
        "marks and overlays": f"http://{chr(0x344) * 512}{chr(0x334) * 512}/",
        "viramas and marks": f"http://{(chr(0x94D) + chr(0x344)) * 512}/",
    }
    hosts["worst of 1,024 characters"] = searched(
        observed_authority, short_host_of, _OF_HOSTS, options.rounds, draw
    )
    hosts["worst that was found"] = searched(
        observed_authority, host_of, _OF_HOSTS, options.rounds, draw
    )
    rows = [("usual", "URL", milliseconds(observed_url, _USUAL, options.times), 0.0)]
    for kind, act, texts in (
        ("URL", observed_url, urls),
        ("host", observed_authority, hosts),
    ):
        for name, text in texts.items():
            ours = milliseconds(act, text, options.times)  # type: ignore[arg-type]
            rows.append((ascii(name), kind, ours, milliseconds(_once, text, options.times)))
    for texts in (urls, hosts):
        print(
            *(f"{name}: {text[:150]!a}" for name, text in texts.items() if "worst" in name),
            sep="\n",
        )
    table(("text", "of", "ms", "urlsplit, unquote"), rows)
    worst = {kind: max(row[2] for row in rows if row[1] == kind) for kind in ("URL", "host")}
    print(worst)
    print(save("canonical_costs", machine, options, rows=rows, worst=worst))


def _cut(piece: str, size: int) -> str:
    """A piece again and again, up to so many bytes."""
    return (piece * size).encode()[:size].decode("utf-8", "ignore")


def _once(text: str) -> bytes:
    return unquote_to_bytes(urlsplit(text).path)


if __name__ == "__main__":
    main()
