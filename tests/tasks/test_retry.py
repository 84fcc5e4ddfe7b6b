"""Which failures are worth another try."""

import errno
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx
import pytest
from icechunk import IcechunkError
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from prefect.states import Completed, Failed

from stvd.contract import CatalogError
from stvd.product import Busy, FingerprintConflict, StorageRefused, StorageUnavailable
from stvd.quality import QualityError
from tasks.retry import is_transient, patiently, worth_retrying


def answered(status: int) -> httpx.HTTPStatusError:
    request = httpx.Request("POST", "http://prefect/api/flow_runs")
    return httpx.HTTPStatusError("no", request=request, response=httpx.Response(status))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionResetError(),
        TimeoutError(),
        OSError(errno.EIO, "input/output error"),
        IcechunkError("503 slow down"),
        StorageUnavailable("no answer"),
        Busy("another writer was faster"),
        httpx.ConnectError("refused"),
        answered(503),
    ],
    ids=repr,
)
def test_storage_and_network_come_back(error: Exception) -> None:
    assert is_transient(error)


@pytest.mark.parametrize(
    "error",
    [
        QualityError([]),
        FingerprintConflict("other seed"),
        CatalogError("no such variable"),
        ValueError("members 0"),
        FileNotFoundError(errno.ENOENT, "no such file"),
        PermissionError(errno.EACCES, "denied"),
        PermissionError("Forbidden"),
        StorageRefused("no such bucket"),
        OSError(errno.ENOSPC, "no space left on device"),
        MemoryError(),
        answered(404),
        MlflowException("no such run", RESOURCE_DOES_NOT_EXIST),
    ],
    ids=repr,
)
def test_wrong_input_does_not_mend_itself(error: Exception) -> None:
    assert not is_transient(error)


def test_prefect_asks_with_the_failed_state() -> None:
    assert worth_retrying(None, None, Failed(data=ConnectionResetError()))
    assert not worth_retrying(None, None, Failed(data=ValueError("no")))
    assert not worth_retrying(None, None, Completed(data=1))


def test_a_call_waits_for_a_server_that_comes_back() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    refused = threading.Event()

    def call() -> int:
        try:
            return httpx.get(f"http://127.0.0.1:{port}", timeout=30).status_code
        except httpx.ConnectError:
            refused.set()
            raise

    class Teapot(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(418)
            self.end_headers()

    def come_back() -> None:
        refused.wait()
        with HTTPServer(("127.0.0.1", port), Teapot) as server:
            server.handle_request()

    thread = threading.Thread(target=come_back)
    thread.start()
    assert patiently(call) == 418
    thread.join()


def test_an_answer_of_mlflow_that_breaks_off_is_asked_for_again() -> None:
    answers = [b"", b"{}"]

    class BreaksOff(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(answers.pop(0))

    with HTTPServer(("127.0.0.1", 0), BreaksOff) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        client = MlflowClient(f"http://127.0.0.1:{server.server_port}")
        try:
            assert patiently(client.search_experiments) == []
        finally:
            server.shutdown()
            thread.join()
    assert not answers


def test_what_does_not_mend_itself_is_not_waited_for() -> None:
    calls = []

    def call() -> None:
        calls.append(1)
        raise ValueError("members 0")

    with pytest.raises(ValueError, match="members 0"):
        patiently(call)
    assert len(calls) == 1
