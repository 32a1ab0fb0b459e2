"""One worker of inkgate-icap without its supervisor, that counts what it does."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path

from support.counts import Counts
from support.icap import Answer, read_answer
from support.installation import BIN, Installation


class IcapWorker:
    """Start one with an installation's settings; end it with `close`.

    Attributes:
        counts: what it has done.
        ready: what it says to its supervisor when it begins to serve.
    """

    def __init__(self, installation: Installation, program: str = "counted.py") -> None:
        self.counts = Counts(installation.folder)
        self._log = self.counts.path.with_suffix(".log")
        reading, writing = os.pipe()
        room_locks = os.memfd_create("room_locks")
        with socket.create_server(("127.0.0.1", 0)) as listening, self._log.open("w") as log:
            self.port = listening.getsockname()[1]
            handed = {"--plain": listening.fileno(), "--vacancy": room_locks, "--ready": writing}
            self.process = subprocess.Popen(
                [
                    BIN / "python",
                    Path(__file__).with_name(program),
                    "icap_server",
                    self.counts.path,
                    "--config",
                    installation.config,
                    *(str(word) for pair in handed.items() for word in pair),
                ],
                stdin=subprocess.PIPE,
                stderr=log,
                pass_fds=tuple(handed.values()),
            )
        os.close(writing)
        os.close(room_locks)
        with os.fdopen(reading) as pipe:
            self.ready = pipe.read()
        self._client = socket.create_connection(("127.0.0.1", self.port), 60)

    def ask(self, message: bytes) -> Answer:
        """The answer to a message; all go over one connection."""
        self._client.sendall(message)
        return read_answer(self._client)

    @property
    def maps(self) -> set[str]:
        """The files that it has mapped."""
        lines = Path(f"/proc/{self.process.pid}/maps").read_text().splitlines()
        return {line.split()[5] for line in lines if line.count(" /")}

    def end(self, seconds: float = 30) -> int:
        """Tell it to end; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def close(self) -> str:
        """End it, if that is not done, and return what it said on standard error."""
        self._client.close()
        if self.process.poll() is None:
            self.end()
        assert self.process.stdin
        self.process.stdin.close()
        return self._log.read_text()
