"""An HTTP proxy before a real object store that spoils chosen replies.

Every request goes on as it came, headers and all, so that its signature stays right. A fault takes
the next `times` requests whose line, e.g. `PUT /bucket/product/refs/…`, matches its pattern.
"""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import urlsplit

Kind = Literal["slow down", "error", "hang", "drop", "truncate", "lose reply"]
ERRORS = {"slow down": (503, "SlowDown"), "error": (500, "InternalError")}


@dataclass
class Fault:
    """What becomes of matching requests.

    Parameters
    ----------
    kind : `slow down` and `error` answer 503 and 500; `hang` never answers; `drop` ends the
        connection and passes nothing on; `truncate` ends it after half of the body; `lose reply`
        passes the request on and ends the connection in place of the answer
    """

    kind: Kind
    pattern: str = ""
    times: float = float("inf")
    met: int = 0


class FaultProxy(ThreadingHTTPServer):
    """Listens on a free port of 127.0.0.1; `requests` are the lines of all that came."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = urlsplit(upstream).netloc
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.requests: list[str] = []
        self.faults: list[Fault] = []
        self.released = threading.Event()
        self._lock = threading.Lock()

    @contextmanager
    def fault(self, kind: Kind, pattern: str = "", times: float = float("inf")) -> Iterator[Fault]:
        """Spoil matching requests inside the block."""
        fault = Fault(kind, pattern, times)
        self.released.clear()
        self.faults.append(fault)
        try:
            yield fault
        finally:
            self.faults.remove(fault)
            self.released.set()

    def meet(self, line: str) -> Kind | None:
        """Note a request; the fault that it meets."""
        with self._lock:
            self.requests.append(line)
            for fault in self.faults:
                if fault.met < fault.times and re.search(fault.pattern, line):
                    fault.met += 1
                    return fault.kind
        return None

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that went away are part of the game."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultProxy

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = self.server.meet(f"{self.command} {self.path}")
        if kind == "hang":
            self.server.released.wait()
        if kind in ("hang", "drop"):
            self.close_connection = True
            return
        if kind in ERRORS:
            status, code = ERRORS[kind]
            text = (
                f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"
            )
            self._answer(status, [("Content-Type", "application/xml")], text.encode())
            return
        upstream = http.client.HTTPConnection(self.server.upstream, timeout=60)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            upstream.putheader(name, value)
        upstream.endheaders(body)
        reply = upstream.getresponse()
        content = reply.read()
        upstream.close()
        if kind == "lose reply":
            self.close_connection = True
            return
        self._answer(reply.status, reply.getheaders(), content, cut=kind == "truncate")

    def _answer(
        self, status: int, headers: list[tuple[str, str]], content: bytes, cut: bool = False
    ) -> None:
        self.send_response_only(status)
        length = str(len(content))
        for name, value in headers:
            if name.lower() == "content-length":
                length = value  # of a HEAD, which has no body
            elif name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = cut

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _serve

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def fault_proxy(upstream: str) -> Iterator[FaultProxy]:
    """A running proxy before the server at `upstream`, e.g. `http://127.0.0.1:8333`."""
    with FaultProxy(upstream) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield proxy
        finally:
            proxy.released.set()
            proxy.shutdown()
