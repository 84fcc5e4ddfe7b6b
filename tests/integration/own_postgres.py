"""A Postgres server of the test's own, on loopback."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PASSWORD = "p%40ss"  # of the user `stvd`, quoted for a URL: a percent sign must survive


@contextmanager
def postgres(port: int, databases: list[str]) -> Iterator[str]:
    """`user:password@host:port` of a server with these databases."""
    if shutil.which("initdb") is None or shutil.which("pg_ctl") is None:
        pytest.skip("Postgres is not installed")
    folder = Path(tempfile.mkdtemp(prefix="stvd-postgres-"))
    owner = None
    if os.geteuid() == 0:  # Postgres refuses to run as root
        owner = pwd.getpwnam("postgres").pw_name
        shutil.chown(folder, owner)
    data, secret = folder / "data", folder / "password"

    def run(*command: str) -> None:
        subprocess.run(command, user=owner, cwd=folder, check=True, stdout=subprocess.DEVNULL)

    secret.write_text("p@ss")
    secret.chmod(0o644)
    run("initdb", "-D", str(data), "-U", "stvd", "-A", "scram-sha-256", f"--pwfile={secret}")
    options = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off"
    run(
        "pg_ctl",
        "-D",
        str(data),
        "-w",
        "-t",
        "120",
        "-l",
        str(folder / "log"),
        "-o",
        options,
        "start",
    )
    try:
        for name in databases:
            subprocess.run(
                ["psql", "-h", "127.0.0.1", "-p", str(port), "-U", "stvd", "postgres"],
                input=f"CREATE DATABASE {name}",
                env={**os.environ, "PGPASSWORD": "p@ss"},
                text=True,
                check=True,
                stdout=subprocess.DEVNULL,
            )
        yield f"stvd:{PASSWORD}@127.0.0.1:{port}"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder)
