"""The Squid that is installed here: where it lies, what it is told, whether it runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from inkgate.squid_conf.configuration import Line
from inkgate.squid_conf.word import SquidConfError

_SECONDS: Final = 60
_VERSION: Final = re.compile(r"Squid Cache: Version (\S+)")
_FOLDER: Final = re.compile(r"--sysconfdir=([^'\s]+)")
_USER: Final = re.compile(r"--with-default-user=([^'\s]+)")
_COMPLAINT: Final = re.compile(r"\b(?:FATAL|ERROR|Bungled)\b.*")


class SquidProgram(NamedTuple):
    """An installed Squid.

    Attributes:
        path: the program.
        version: as it says it, for instance `6.13`.
        configuration: the file that it reads unless it is told another one.
        user: whom it runs as unless its configuration says otherwise.
        opens_tls: whether it was built with OpenSSL, and so knows `%ssl::` and `ssl_bump`.
    """

    path: Path
    version: str
    configuration: Path
    user: str
    opens_tls: bool

    def complaint(self, configuration: Path) -> str:
        """What Squid says against a configuration file; empty if it takes it.

        Raises:
            SquidConfError: it did not answer.
        """
        done = self._run("parse", configuration)
        if done.returncode == 0:
            return ""
        found = _COMPLAINT.findall(done.stderr)
        return found[-1] if found else done.stderr.strip()[-500:] or f"status {done.returncode}"

    def is_running(self, configuration: Path) -> bool:
        """Whether a Squid with this configuration file's PID file runs."""
        return self._run("check", configuration).returncode == 0

    def reconfigure(self, configuration: Path) -> None:
        """Have the running Squid read its configuration again.

        Raises:
            SquidConfError: it could not be told.
        """
        done = self._run("reconfigure", configuration)
        if done.returncode:
            said = done.stderr.strip()[-300:]
            raise SquidConfError(
                f"squid -k reconfigure ended with status {done.returncode}: {said}; run it as "
                "root, or: systemctl reload squid"
            )

    def _run(self, action: str, configuration: Path) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [self.path, "-k", action, "-f", configuration],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            problem = getattr(error, "strerror", None) or f"no answer in {_SECONDS} s"
            raise SquidConfError(f"squid -k {action}: {problem}; see that Squid runs") from None


def user_of(program: SquidProgram, lines: Iterable[Line]) -> str:
    """Whom Squid runs its helpers as, when root starts it."""
    found = [line.words[0] for line in lines if line.name == "cache_effective_user" and line.words]
    return found[-1] if found else program.user


def find_squid() -> SquidProgram:
    """The Squid of this machine.

    Raises:
        SquidConfError: there is none, or it does not say what it is.
    """
    found = shutil.which("squid", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if found is None:
        raise SquidConfError("squid is not installed; on Debian: apt-get install squid-openssl")
    try:
        said = subprocess.run(
            [found, "-v"], capture_output=True, text=True, timeout=_SECONDS, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        problem = getattr(error, "strerror", None) or f"no answer in {_SECONDS} s"
        raise SquidConfError(f"{found} -v: {problem}; reinstall Squid") from None
    version, folders, user = _VERSION.search(said), _FOLDER.findall(said), _USER.search(said)
    folder = folders[-1] if folders else "/etc/squid"
    return SquidProgram(
        Path(found),
        version[1] if version else "unknown",
        Path(folder) / "squid.conf",
        user[1] if user else "nobody",
        "--with-openssl" in said,
    )
