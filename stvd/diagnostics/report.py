"""Everything that is said about a product at once: its tables, scores and figures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from stvd.baselines.interpolation import interpolate
from stvd.diagnostics import figures
from stvd.diagnostics.diagnosis import Diagnosis
from stvd.diagnostics.extremes import TooFewMaxima, return_levels
from stvd.diagnostics.spectra import on_fine_cells
from stvd.diagnostics.tables import Tables, area_mean, tables
from stvd.lattice import TimeAxis, as_cftime, format_time
from stvd.piece_statistics import ScoreConfig
from stvd.scores import score_ensemble
from stvd.statistics import block_length

SYSTEM = "stvd"
BASELINE = "bicubic"
Progress = Callable[[str, int, int], None]


def diagnose(
    product: xr.Dataset,
    *,
    truth: xr.Dataset | None = None,
    coarse: xr.Dataset | None = None,
    grid: xr.Dataset | None = None,
    name: str | None = None,
    config: ScoreConfig | None = None,
    reference: xr.DataArray | None = None,
    replicates: int = 200,
    progress: Progress | None = None,
) -> Diagnosis:
    """Annual and extreme-event tables of a product, its scores, and their figures.

    Reads lazily, by pieces of time and by year, in memory that does not grow with the record.

    Parameters
    ----------
    product : Dataset with `pr` (member, time, [tile,] y, x) in kg m-2 s-1 and `areacella`;
        attributes `step_seconds` and `calendar`, and where known `epoch` and `window`
    truth : Dataset with `pr` on the same grid; with it the product is scored
    coarse : Dataset with `pr` on the coarse grid, the input; with truth and grid the scores of its
        bicubic interpolation stand beside those of the product
    grid : static Dataset of the fine grid, for coasts and relief on maps
    name : how figures call the product; by default its attribute `title` or `product`
    config : of the scores; None takes the default, with the window and periodicity of the product
    reference : 95th percentile of wet days, mm d-1; with it `r95p` is added to the extremes
    replicates : of the block bootstrap
    progress : called with (stage, done, in all)

    Returns
    -------
    Diagnosis

    Raises
    ------
    ValueError
        If truth or coarse lack a time of the product or lie on other cells, or a member has gaps.
    """
    tell: Progress = progress or (lambda stage, done, total: None)
    axis = time_axis_of(product)
    pr, area = product["pr"], product["areacella"].compute()
    static = product if grid is None else grid
    true = None if truth is None else at_times_of(truth["pr"], pr, "truth")
    given = None if coarse is None else at_times_of(coarse["pr"], pr, "coarse")

    tell("annual and extremes", 0, 1)
    found = tables(pr, area, axis, reference=reference)
    made, notes = _with_return_levels(found)

    config = config or _config(product, static, axis)
    systems = {SYSTEM: pr}
    if true is not None and given is not None and grid is not None:
        systems[BASELINE] = interpolate(given.to_dataset(name="pr"), grid)
    scores = {}
    for system, field in systems.items():
        stage = f"scores of {system}"
        scores[system] = score_ensemble(
            field,
            true,
            area,
            given,
            axis=axis,
            config=config,
            replicates=replicates,
            progress=lambda done, total, stage=stage: tell(stage, done, total),  # type: ignore[misc]
        )

    tell("figures", 0, 1)
    series = {"members": area_mean(pr, area).compute()}
    if true is not None:
        series["truth"] = area_mean(true, area).compute()
    material = figures.Material(
        name=name or str(product.attrs.get("title") or product.attrs.get("product", "product")),
        axis=axis,
        pr=pr,
        truth=true,
        coarse=given,
        static=static,
        tables=made,
        scores=scores,
        input_scores=None if given is None else on_fine_cells(given, area, config, axis),
        series=series,
    )
    drawn = figures.draw(material)
    return Diagnosis(
        name=material.name,
        period=str(material.period),
        tables=made,
        scores=scores,
        figures=drawn,
        notes=notes,
        attrs={k: v for k, v in product.attrs.items() if isinstance(v, str | int | float)},
    )


def time_axis_of(product: xr.Dataset) -> TimeAxis:
    """The lattice of a product: its own, or one that begins with its first frame.

    Raises
    ------
    ValueError
        If the attribute `step_seconds` or `calendar` is missing.
    """
    for name in ("step_seconds", "calendar"):
        if name not in product.attrs:
            raise ValueError(f"the product has no attribute {name}; open it with open_product")
    step, calendar = int(product.attrs["step_seconds"]), str(product.attrs["calendar"])
    if "epoch" in product.attrs:
        return TimeAxis(epoch=product.attrs["epoch"], step_seconds=step, calendar=calendar)
    first = as_cftime(product["time"][:1], calendar)[0]
    start = first - TimeAxis(epoch="2000-01-01", step_seconds=step, calendar=calendar).step / 2
    return TimeAxis(epoch=format_time(start), step_seconds=step, calendar=calendar)


def at_times_of(field: xr.DataArray, pr: xr.DataArray, name: str) -> xr.DataArray:
    """The frames of `field` at exactly the times of `pr`.

    Raises
    ------
    ValueError
        If a time is missing, named in the message.
    """
    place = field.indexes["time"].get_indexer(pr.indexes["time"])
    if (place < 0).any():
        gone = pr["time"].values[place < 0]
        raise ValueError(
            f"{name} has no frame at {len(gone)} of {len(place)} times of the product, first at "
            f"{gone[0]}; open it for the whole period of the product"
        )
    if (np.diff(place) == 1).all():
        return field.isel(time=slice(int(place[0]), int(place[-1]) + 1))
    return field.isel(time=place)


def _config(product: xr.Dataset, static: xr.Dataset, axis: TimeAxis) -> ScoreConfig:
    window = int(product.attrs.get("window", 0))
    return ScoreConfig(
        window=window if window > 1 else None,
        periodic_x=bool(int(static.attrs.get("periodic_x", 0))),
        block_frames=block_length(product.sizes["time"], axis.step_seconds),
    )


def _with_return_levels(found: Tables) -> tuple[dict[str, xr.Dataset], tuple[str, ...]]:
    """The tables by name, and return levels where the annual maxima suffice."""
    made = {}
    notes = list(found.notes)
    if found.annual is not None:
        made["annual"] = found.annual
        try:
            levels = {n: return_levels(found.annual[n]) for n in ("rx1day", "rx1step")}
            made["return_levels"] = xr.Dataset(levels)
        except TooFewMaxima as short:
            notes.append(f"No return levels: {short}.")
    if found.period_to_date is not None:
        made["period_to_date"] = found.period_to_date
    return made, tuple(notes)
