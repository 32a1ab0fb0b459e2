"""A local web server that plays every host of the samples."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one write: two small ones would wait for each other's ACK.
    wbufsize = -1
    timeout = 30

    def _answer(self) -> None:
        body = b"This page is not blocked.\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = _answer  # noqa: N815 (names that http.server looks for)

    def log_message(self, *_: Any) -> None:
        """Say nothing: Squid's log has it all."""


def start_origin() -> int:
    """Start the server on a free port of 127.0.0.1 and return the port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_address[1])
