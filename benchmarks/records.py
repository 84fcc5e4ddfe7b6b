"""Simulate the records of a benchmark that are not there yet, by the commands of `splits.yaml`.

    python benchmarks/records.py gcm train        # April, July and October: about two hours of a core
    python benchmarks/records.py gcm test

Interrupted, it goes on where it stopped. It needs `pip install 'stvd[jcm]'`.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import yaml
from held_out import HERE, split

ROOT = HERE.parent


def missing(benchmark: str, part: str, root: Path = ROOT) -> dict[str, list[str]]:
    """Records of a part that are to be made, each with the arguments of `stvd` that make it."""
    commands = yaml.safe_load((HERE / "splits.yaml").read_text())["commands"]
    wanted = [e for e in split(benchmark, part) if e in commands and not (root / e).exists()]
    return {event: shlex.split(commands[event])[1:] for event in wanted}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("benchmark", choices=["gcm", "gcm_t63"])
    parser.add_argument("part", choices=["train", "validation", "test"])
    given = parser.parse_args()
    stvd = Path(sys.executable).with_name("stvd")
    for event, arguments in missing(given.benchmark, given.part).items():
        print(f"{event}: stvd {shlex.join(arguments)}", flush=True)
        made = subprocess.run([stvd, *arguments], cwd=ROOT)
        if made.returncode:
            sys.exit(made.returncode)


if __name__ == "__main__":
    main()
