"""REQMOD transactions a second and p99, beside Debian's c-icap with srv_url_check.

Both have the same list, the same connections and the same messages (requests without
body for hosts that are not listed, warm), in turns. c-icap keeps its list in clear in
memory; inkgate keeps encrypted rules. Prints a table, also of transactions through a
real Squid that answers from its memory, and writes bench/results/icap_reqmod.json.
"""

from __future__ import annotations

import argparse
import contextlib
import select
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil

from harness.arguments import Arguments
from harness.machine import describe, save
from inkgate.squid_conf.check import SQUID_USER
from support.icap import Icap, http_request, reqmod
from support.icap_squid import SQUID, Origin
from support.installation import Installation, attribute
from support.squid import free_port

HOSTS = 2000
CONNECTIONS = (1, 16)


class Measured(NamedTuple):
    per_second: float
    per_core_second: float
    p99_ms: float


def exchange(port: int, messages: list[bytes], connections: int, count: int) -> list[float]:
    """Send messages over connections, one under way on each; latencies in seconds."""
    poll = select.epoll()
    clients = {}
    latencies = []
    sent_at: dict[int, float] = {}
    number = 0
    for _ in range(connections):
        client = socket.create_connection(("127.0.0.1", port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        clients[client.fileno()] = client
        poll.register(client, select.EPOLLIN)
    for fd, client in clients.items():
        sent_at[fd] = time.perf_counter()
        client.send(messages[number % len(messages)])
        number += 1
    while len(latencies) < count:
        for fd, _ in poll.poll():
            client = clients[fd]
            answer = client.recv(65536)
            if not answer:
                raise ConnectionError("closed by the server")
            if not answer.endswith(b"\r\n\r\n"):
                continue  # c-icap sends its answer in two pieces at times.
            now = time.perf_counter()
            latencies.append(now - sent_at[fd])
            sent_at[fd] = now
            client.send(messages[number % len(messages)])
            number += 1
    for client in clients.values():
        client.close()
    return latencies


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and its children so far."""
    parent = psutil.Process(pid)
    return sum(sum(one.cpu_times()[:2]) for one in (parent, *parent.children(recursive=True)))


def measure(port: int, pid: int, messages: list[bytes], connections: int, most: int) -> Measured:
    count = most // (4 if connections == 1 else 1)
    exchange(port, messages, connections, HOSTS * 2)
    cpu = cpu_seconds(pid)
    started = time.perf_counter()
    latencies = exchange(port, messages, connections, count)
    seconds = time.perf_counter() - started
    spent = cpu_seconds(pid) - cpu
    p99 = statistics.quantiles(latencies, n=100)[98] * 1000
    # Processor times are told in hundredths of a second: with --quick it may be none.
    return Measured(count / seconds, count / max(spent, 0.01), p99)


def wait_for(port: int) -> None:
    """Until something listens on a port."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.1)
    raise AssertionError(f"nothing listens on port {port}")


class CIcap:
    """Debian's c-icap with srv_url_check and a list of domains."""

    def __init__(self, folder: Path, domains: list[str]) -> None:
        self.port = free_port()
        (folder / "list").write_text("".join(f"{name}\n" for name in domains))
        modules = next(Path("/usr/lib").glob("*/c_icap"))
        conf = folder / "c-icap.conf"
        conf.write_text(
            f"PidFile {folder}/pid\nCommandsSocket {folder}/ctl\nTimeout 300\n"
            "MaxKeepAliveRequests -1\nKeepAliveTimeout 600\nStartServers 1\nMaxServers 2\n"
            "MinSpareThreads 10\nMaxSpareThreads 64\nThreadsPerChild 64\n"
            f"MaxRequestsPerChild 0\nPort 127.0.0.1:{self.port}\nTmpDir {folder}\n"
            f"ModulesDir {modules}\nServicesDir {modules}\nServerLog {folder}/log\n"
            "TemplateDir /usr/share/c_icap/templates/\nAccessLog /dev/null\n"
            "Service url_check_module srv_url_check.so\n"
            f"url_check.LookupTableDB listed domain hash:{folder}/list\n"
            "url_check.Profile default block listed\nurl_check.Profile default pass ALL\n"
        )
        program = shutil.which("c-icap", path="/usr/bin:/usr/sbin")
        assert program, "apt-get install c-icap libc-icap-mod-urlcheck"
        self.process = subprocess.Popen([program, "-N", "-f", conf], stdout=subprocess.DEVNULL)
        wait_for(self.port)

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def through_squid(service: str, origin: Origin, count: int) -> Measured:
    """Requests a second of a Squid that asks a service and answers from memory."""
    folder = Path(tempfile.mkdtemp(prefix="inkgate-icap-bench-"))
    folder.chmod(0o777)
    port = free_port()
    conf = folder / "squid.conf"
    conf.write_text(
        f"http_port 127.0.0.1:{port}\npid_filename {folder}/pid\ncache_log {folder}/log\n"
        f"access_log none\ncoredump_dir {folder}\ncache_mem 64 MB\npinger_enable off\n"
        f"netdb_filename none\ncache_effective_user {SQUID_USER}\nvisible_hostname bench\n"
        "shutdown_lifetime 0 seconds\nhttp_access allow all\n"
        "refresh_pattern . 1440 100% 1440 override-expire ignore-reload\n"
        f"cache_peer 127.0.0.1 parent {origin.port} 0 no-query originserver\n"
        "never_direct allow all\nicap_enable on\nicap_preview_enable on\n"
        f"icap_service one reqmod_precache {service} bypass=off\nadaptation_access one allow all\n"
    )
    assert SQUID
    name = f"bench{port}"
    squid = subprocess.Popen([SQUID, "-N", "-f", conf, "-n", name], stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        requests = [
            b"GET http://host%d.example/x HTTP/1.1\r\nHost: host%d.example\r\n\r\n" % (n, n)
            for n in range(200)
        ]
        http_exchange(port, requests, 16, min(count, 1000))
        cpu = cpu_seconds(squid.pid)
        started = time.perf_counter()
        latencies = http_exchange(port, requests, 16, count)
        seconds = time.perf_counter() - started
        spent = cpu_seconds(squid.pid) - cpu
        p99 = statistics.quantiles(latencies, n=100)[98] * 1000
        # Processor times are told in hundredths of a second: with --quick it may be none.
        return Measured(count / seconds, count / max(spent, 0.01), p99)
    finally:
        squid.terminate()
        squid.wait()
        shutil.rmtree(folder, ignore_errors=True)


def http_exchange(port: int, messages: list[bytes], connections: int, count: int) -> list[float]:
    poll = select.epoll()
    clients: dict[int, tuple[socket.socket, bytearray]] = {}
    latencies: list[float] = []
    sent_at: dict[int, float] = {}
    number = 0
    for _ in range(connections):
        client = socket.create_connection(("127.0.0.1", port))
        clients[client.fileno()] = (client, bytearray())
        poll.register(client, select.EPOLLIN)
    for fd, (client, _) in clients.items():
        sent_at[fd] = time.perf_counter()
        client.send(messages[number % len(messages)])
        number += 1
    while len(latencies) < count:
        for fd, _ in poll.poll():
            client, buffer = clients[fd]
            buffer += client.recv(65536)
            if not buffer.endswith(b"not blocked.\n"):
                assert b" 200 " in buffer[:20], bytes(buffer[:400])
                continue
            buffer.clear()
            now = time.perf_counter()
            latencies.append(now - sent_at[fd])
            sent_at[fd] = now
            client.send(messages[number % len(messages)])
            number += 1
    for client, _ in clients.values():
        client.close()
    return latencies


def main() -> None:
    parser = Arguments(__doc__, rules=1_000, messages=2_000, through_squid=500, runs=1)
    parser.add_argument("--rules", type=int, default=1_000_000)
    parser.add_argument("--messages", type=int, default=60_000, help="of a run")
    parser.add_argument("--through-squid", type=int, default=8_000, help="requests of a run")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.read()
    machine = describe()
    results = measured(options)
    report(results)
    save("icap_reqmod", machine, options, runs=results)


def measured(options: argparse.Namespace) -> dict[str, dict[str, list[Measured]]]:
    rules = options.rules
    domains = [f"listed{n}.example" for n in range(rules)]
    installation = Installation()
    installation.add("listed", *(attribute("domain", name) for name in domains))
    print(f"sealing {rules:,} rules", flush=True)
    installation.refresh()
    messages = [reqmod(http_request(f"http://host{n}.example/a?b={n}")) for n in range(HOSTS)]
    theirs = [m.replace(b"/reqmod ICAP", b"/url_check_module ICAP") for m in messages]
    results: dict[str, dict[str, list[Measured]]] = {}
    folder = Path(tempfile.mkdtemp(prefix="inkgate-icap-bench-"))
    ours = Icap(installation, workers=2)
    peer = CIcap(folder, domains)
    origin = Origin()
    try:
        for _ in range(options.runs):
            for connections in CONNECTIONS:
                row = results.setdefault(f"REQMOD, {connections} connections", {})
                for who, port, pid, what in (
                    ("inkgate", ours.port, ours.process.pid, messages),
                    ("c-icap", peer.port, peer.process.pid, theirs),
                ):
                    run = measure(port, pid, what, connections, options.messages)
                    row.setdefault(who, []).append(run)
            row = results.setdefault("through Squid, 16 connections", {})
            for who, service in (
                ("inkgate", f"icap://127.0.0.1:{ours.port}/reqmod"),
                ("c-icap", f"icap://127.0.0.1:{peer.port}/url_check_module"),
            ):
                run = through_squid(service, origin, options.through_squid)
                row.setdefault(who, []).append(run)
    finally:
        ours.close()
        peer.close()
        origin.close()
        installation.close()
        shutil.rmtree(folder, ignore_errors=True)
    return results


def report(results: dict[str, dict[str, list[Measured]]]) -> None:
    print(f"{'':32}{'server':>10}{'per second':>13}{'per core-s':>13}{'p99 ms':>9}   medians")
    for what, row in results.items():
        for who, runs in row.items():
            rate, core, p99 = (statistics.median(column) for column in zip(*runs, strict=True))
            print(f"{what:32}{who:>10}{rate:>13,.0f}{core:>13,.0f}{p99:>9.2f}")
        ratio = [
            statistics.median(run[1] for run in row["inkgate"])
            / statistics.median(run[1] for run in row["c-icap"]),
            statistics.median(run[0] for run in row["inkgate"])
            / statistics.median(run[0] for run in row["c-icap"]),
        ]
        print(f"{'':32}{'ratio':>10}{ratio[1]:>13.2f}{ratio[0]:>13.2f}")


if __name__ == "__main__":
    main()
