"""A complete small squid.conf, for a trial on one machine."""

from __future__ import annotations

from pathlib import Path

from inkgate.squid_conf.bump import Bumping
from inkgate.squid_conf.word import squid_word

_NOTHING = Bumping("", ())


def minimal(
    *,
    port: int,
    folder: Path,
    fragment: str,
    user: str | None,
    origin: int | None,
    bump: Bumping = _NOTHING,
) -> str:
    """A Squid on 127.0.0.1 that keeps everything of its own in one folder.

    Args:
        port: where it listens.
        folder: for its logs and its PID file; writable by its user.
        fragment: the lines from `squid_conf.fragment`.
        user: the user that Squid changes to when it is started as root.
        origin: a local port that stands for all .example and .test names and the
            addresses for documentation, since those are nowhere in the Internet.
        bump: how much of TLS is looked into.

    Raises:
        SquidConfError: a path cannot be written in squid.conf.
    """
    here = squid_word(str(folder))
    lines = [
        f"http_port 127.0.0.1:{port}{bump.port}",
        f"pid_filename {here}/squid.pid",
        f"cache_log {here}/cache.log",
        f"coredump_dir {here}",
        "visible_hostname inkgate-trial",
        "cache deny all",
        "cache_mem 8 MB",
        "memory_pools off",
        "pinger_enable off",
        "netdb_filename none",
        "logfile_rotate 0",
        "shutdown_lifetime 1 seconds",
        "acl CONNECT method CONNECT",
        "acl web_ports port 80 443 21 1025-65535",
        "http_access deny !web_ports",
        "http_access deny !localhost",
    ]
    if user:
        lines.append(f"cache_effective_user {user}")
    lines += ["", *bump.lines, fragment.rstrip(), "", *(_origin(here, origin) if origin else ())]
    lines.append("http_access allow localhost")
    lines.append("http_access deny all")
    return "\n".join(lines) + "\n"


def _origin(here: str, port: int) -> list[str]:
    return [
        "# Reserved names and addresses (RFC 2606, RFC 5737) are played by a local server.",
        f"hosts_file {here}/hosts",
        "acl sample_names dstdomain .example .test",
        "acl sample_addresses dst -n 192.0.2.0/24 198.51.100.0/24 203.0.113.0/24",
        f"cache_peer 127.0.0.1 parent {port} 0 no-query no-digest originserver name=samples",
        "cache_peer_access samples deny CONNECT",
        "cache_peer_access samples allow sample_names",
        "cache_peer_access samples allow sample_addresses",
        "cache_peer_access samples deny all",
        "never_direct deny CONNECT",
        "never_direct allow sample_names",
        "never_direct allow sample_addresses",
        "",
    ]
