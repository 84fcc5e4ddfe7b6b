"""Options that several commands take."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

Source = Annotated[
    str, typer.Option(help="Coarse record: a name from `stvd info`, or the path of a data file.")
]
ProductName = Annotated[
    str | None,
    typer.Option("--product", help="Name or URI of the product. [default: the source's]"),
]
CheckpointName = Annotated[
    str | None,
    typer.Option(
        "--checkpoint",
        help="Name or folder of the model, or models:/NAME@ALIAS. [default: the best that fits]",
    ),
]
Members = Annotated[int, typer.Option(min=1, help="Size of the ensemble.")]
Seed = Annotated[int, typer.Option(min=0, help="Of the noise: another seed, another ensemble.")]
Steps = Annotated[
    int | None, typer.Option(min=1, help="Network calls a sample. [default: as the model says]")
]
Solver = Annotated[
    Literal["dpmpp2m_sde", "dpmpp2m", "ddim"] | None,
    typer.Option(help="How a sample is drawn. [default: as the model says]"),
]
Conserve = Annotated[bool, typer.Option(help="Keep the mean of every coarse cell.")]
Windows = Annotated[
    Literal["overlapping", "independent"] | None,
    typer.Option(
        help="Join windows without a seam, or not. [default: as the product; overlapping]"
    ),
]
CellFrames = Annotated[
    int | None,
    typer.Option(min=1, help="Frames of a partition of a new product. [default: about a month]"),
]
OpenEnd = Annotated[bool, typer.Option(help="Publish the last cell though no input follows it.")]
FanOut = Annotated[bool, typer.Option(help="Give the partitions to workers (`stvd stack`).")]
LagDays = Annotated[
    float | None,
    typer.Option(min=0, help="The record should reach to so many days before now. [default: any]"),
]
WaitHours = Annotated[float, typer.Option(min=0, max=24, help="How long to wait for that.")]
Recheck = Annotated[
    int, typer.Option(min=0, help="So many of the last partitions are looked at for staleness.")
]
Mode = Annotated[
    Literal["missing", "stale", "replace"],
    typer.Option(
        help="missing; stale: replace what has other inputs now, too; replace: all of it."
    ),
]
Regions = Annotated[
    str | None, typer.Option(help="GeoJSON file or shapefile of regions to have means of.")
]
RegionName = Annotated[
    str | None, typer.Option(help="Property that names them. [default: the usual ones]")
]
EventThreshold = Annotated[
    float | None, typer.Option(help="mm/h of a step; lists the largest events above it.")
]
Reference = Annotated[
    str | None, typer.Option(help="Years to compare with, such as 1991-2020; makes r95p too.")
]

_PRODUCTION = (
    *("source", "product", "checkpoint", "members", "seed"),
    *("steps", "solver", "conserve", "windows", "cell_frames"),
)


def production_options(arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of a command's arguments that say how a product is made."""
    return {name: arguments[name] for name in _PRODUCTION}
