"""Uploads and downloads through real Squids while all processors are busy, byte for byte.

Bare Squid and inkgate's set-ups (helper, ICAP) have the same line for the size of Squid's
buffer for requests, without which Squid before 6.13 breaks uploads off (its bug 5405);
`bare, own size` is Squid as it comes. All are asked in turns, for bodies of each size, by
clients at the same time. What arrives is compared by SHA-256, at the server for uploads and at
the client for downloads; `broken` is what did not arrive whole. Ends with 1 if inkgate breaks
more off than the bare Squid with the same line.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from typing import Any

from harness.arguments import Arguments
from harness.machine import describe, save, table
from harness.proxies import Proxy
from inkgate.blocked_page.settings import SquidSettings
from inkgate.icap_server.settings import IcapSettings
from inkgate.squid_conf.fragment import fragment
from inkgate.squid_conf.icap import icap_fragment
from inkgate.squid_conf.launching import Launching, place_launcher
from inkgate.squid_conf.squid_bugs import bug_lines
from support.icap import Icap
from support.icap_squid import Origin
from support.installation import BIN, Installation, attribute

_SECONDS = 120
_OLD = "5.7"  # the line is for all of them, whatever Squid there is
BARE = "bare"
OWN_SIZE = "bare, own size"
OURS = ("helper", "icap")

Row = dict[str, Any]


def helper_lines(installation: Installation) -> str:
    """Squid's lines for the helper, as our generator makes them."""
    installation.run("inkgate-squid-conf", "pages")
    launcher = installation.folder / "launcher"
    place_launcher(launcher, "open")
    launching = Launching(launcher, BIN / "inkgate-helper", installation.config)
    return fragment(
        SquidSettings(), launching=launching, pages=installation.folder / "pages", log=""
    )


def icap_lines(port: int) -> str:
    """Squid's lines for the ICAP server."""
    settings = IcapSettings()
    return icap_fragment(
        service=f"icap://127.0.0.1:{port}",
        fail="open",
        server_header=settings.server_header,
        name_header=settings.name_header,
        log="",
    )


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Keep processors busy with what has no part in anything."""
    burners = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(processes)]
    for burner in burners:
        burner.start()
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.join()


def _burn() -> None:
    while True:
        hashlib.sha256(bytes(1 << 20)).digest()


def upload(port: int, body: bytes, digest: str) -> bool:
    """Whether the server got all of it."""
    try:
        status, answer = _ask(port, "POST", "/upload", body)
    except (OSError, HTTPException):
        return False
    return status == 200 and answer.decode() == f"{len(body)} {digest}"


def download(port: int, body: bytes, digest: str) -> bool:
    """Whether the client gets all of it."""
    try:
        status, answer = _ask(port, "GET", f"/{len(body)}", None)
    except (OSError, HTTPException):
        return False
    return status == 200 and hashlib.sha256(answer).hexdigest() == digest


def _ask(port: int, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
    try:
        connection.request(method, f"http://fine.example{path}", body)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def transfers(
    proxies: dict[str, int], bodies: list[bytes], times: int, clients: int
) -> Iterator[Row]:
    """Every body in both directions through each proxy, in turns."""
    ways: dict[str, Callable[[int, bytes, str], bool]] = {"up": upload, "down": download}
    for body in bodies:
        digest = hashlib.sha256(body).hexdigest()
        for way, transfer in ways.items():
            for name, port in proxies.items():
                began = time.perf_counter()
                with ThreadPoolExecutor(clients) as pool:
                    done = [pool.submit(transfer, port, body, digest) for _ in range(times)]
                    broken = sum(not one.result() for one in done)
                seconds = (time.perf_counter() - began) / times
                yield {
                    "proxy": name,
                    "bytes": len(body),
                    "way": way,
                    "times": times,
                    "broken": broken,
                    "seconds": seconds,
                }


def main() -> None:
    parser = Arguments(__doc__, times=2, sizes=[0, 200_000, 5_000_000])
    parser.add_argument("--times", type=int, default=50, help="of each size and way")
    parser.add_argument("--clients", type=int, default=4, help="at the same time")
    parser.add_argument("--mib", type=int, default=SquidSettings().request_buffer_mib)
    parser.add_argument(
        "--sizes",
        type=int,
        nargs="+",
        default=[0, 1, 200_000, 5_000_000, 50_000_000, 200_000_000],
        help="in bytes",
    )
    options = parser.read()
    machine = describe()
    same = "\n".join(bug_lines(options.mib, _OLD, icap=False)) + "\n"
    piece = os.urandom(1 << 20)
    bodies = [(piece * (size // len(piece) + 1))[:size] for size in options.sizes]
    rows: list[Row] = []
    with ExitStack() as stack:
        installation = Installation()
        stack.callback(installation.close)
        listed = (attribute("domain", "listed.example"), attribute("sha256", "a" * 64))
        installation.add("listed", *listed)
        installation.refresh()
        icap = Icap(installation, workers=2)
        stack.callback(icap.close)
        origin = Origin()
        stack.callback(origin.close)
        origin.files.update({f"/{len(body)}": (body, {}) for body in bodies})
        lines = {
            OWN_SIZE: "",
            BARE: same,
            "helper": helper_lines(installation) + same,
            "icap": icap_lines(icap.port) + same,
        }
        proxies = {}
        for name, text in lines.items():
            proxy = Proxy(name, text, origin, is_resolving=False)  # type: ignore[arg-type]
            stack.callback(proxy.close)
            proxies[name] = proxy.port
        with busy(os.cpu_count() or 1):
            for row in transfers(proxies, bodies, options.times, options.clients):
                rows.append(row)
                print(*row.values(), flush=True)
    table(list(rows[0]), [list(row.values()) for row in rows])
    print(save("uploads", machine, options, rows=rows))
    broken = {name: sum(row["broken"] for row in rows if row["proxy"] == name) for name in lines}
    print(broken)
    if any(broken[name] > broken[BARE] for name in OURS):
        sys.exit(1)


if __name__ == "__main__":
    main()
