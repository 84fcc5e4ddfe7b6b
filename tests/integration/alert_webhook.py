"""A webhook that keeps what it is told."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Webhook:
    """Texts that were sent to `url`, in the order in which they came."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.texts: list[str] = []

    def wait_for(self, part: str, seconds: float) -> str:
        """The first text with `part` in it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for text in self.texts:
                if part in text:
                    return text
            time.sleep(0.5)
        raise AssertionError(f"no alert with {part!r} in {seconds} s, but {self.texts}")


@contextmanager
def webhook() -> Iterator[Webhook]:
    """A webhook on a free port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.texts.append(json.loads(body)["text"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    told = Webhook(f"http://127.0.0.1:{server.server_port}/")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
