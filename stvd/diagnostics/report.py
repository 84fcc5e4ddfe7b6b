"""Everything that is said about a product at once: its tables, scores and figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import xarray as xr

from stvd.baselines.interpolation import interpolate
from stvd.contract import time_axis
from stvd.diagnostics import figures, skill
from stvd.diagnostics.changes import Baseline
from stvd.diagnostics.climate_tables import climate_tables
from stvd.diagnostics.diagnosis import Diagnosis
from stvd.diagnostics.events import largest_events
from stvd.diagnostics.in_time import in_time
from stvd.diagnostics.listed import event_dataset, of_members, region_tables, skill_dataset
from stvd.diagnostics.pooled_maxima import TooFewMaxima
from stvd.diagnostics.region_files import Region
from stvd.diagnostics.regions import region_areas
from stvd.diagnostics.return_periods import return_periods_of
from stvd.diagnostics.spectra import coarse_area, on_fine_cells
from stvd.diagnostics.summaries import ensemble_summary
from stvd.diagnostics.tables import tables, tables_of_states
from stvd.grid import is_periodic
from stvd.lattice import TimeAxis, WindowLattice, as_cftime, format_time
from stvd.piece_statistics import ScoreConfig
from stvd.scores import score
from stvd.statistics import Statistics, block_length

SYSTEM = "stvd"
BASELINE = "bicubic"
INTERPOLATED = 4_000_000  # values that are interpolated at once
Progress = Callable[[str, int, int], None]


def diagnose(
    product: xr.Dataset,
    *,
    truth: xr.Dataset | None = None,
    coarse: xr.Dataset | None = None,
    grid: xr.Dataset | None = None,
    name: str | None = None,
    axis: TimeAxis | None = None,
    window: int | WindowLattice | None = None,
    config: ScoreConfig | None = None,
    reference: xr.Dataset | xr.DataArray | None = None,
    states: Iterable[xr.Dataset] | None = None,
    regions: Sequence[Region] = (),
    event_threshold: float | None = None,
    event_amount: float | None = None,
    baseline: Baseline | None = None,
    curves: figures.Curves | None = None,
    replicates: int = 200,
    keeper: skill.Keeper | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Annual and extreme-event tables of a product, its scores, and their figures.

    Reads lazily, by pieces of the record, in memory that does not grow with its length.

    Parameters
    ----------
    product : Dataset with `pr` (member, time, [tile,] y, x) in kg m-2 s-1, `areacella` and
        `time_bnds`, as `stvd.product.open_product` gives it
    truth : Dataset with `pr` on the same grid; with it the product is scored
    coarse : Dataset with `pr` on the coarse grid, the input; with truth and grid the scores of its
        bicubic interpolation stand beside those of the product
    grid : static Dataset of the fine grid, for coasts and relief on maps
    name : how figures call the product; by default the beginning of its title
    axis : the lattice of time of its source; by default one from its first frame on
    window : frames sampled jointly, or where windows lie if they overlap, for the seam ratio
    config : of the scores; None takes the default, with this window and the grid's periodicity
    reference : percentiles of wet days (`percentiles.wet_day_percentiles`); with it `r95p`, `r99p` and
        their shares are added to the extremes
    states : what has been counted of the product already (`accumulate_store`); the tables are made of
        it, and `reference` is that by which it was counted
    regions : whose area means, and with truth scores, are wanted beside those of the whole
    event_threshold : mm h-1 of a step; with it the largest events above it are listed
    event_amount : mm in a day, whose return period is wanted
    baseline : the reference period against which change is wanted
    curves : scores by solver and number of network calls, as `stvd evaluate --calls` writes them
    replicates : of the block bootstrap
    keeper : of what the scores need and was counted before
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
    axis = axis or time_axis_of(product)
    pr, area = product["pr"], product["areacella"].compute()
    static = product if grid is None else grid
    true = None if truth is None else at_times_of(truth["pr"], pr, "truth")
    given = None if coarse is None else at_times_of(coarse["pr"], pr, "coarse")

    tell("annual and extremes", 0, 1)
    counted = (
        tables(pr, area, axis, reference=reference)
        if states is None
        else tables_of_states(states, area)
    )
    made, notes = climate_tables(counted, area, baseline=baseline, event_amount=event_amount)
    lists: dict[str, pd.DataFrame] = {}
    listed: dict[str, xr.Dataset] = {}
    areas = region_areas(regions, product, area) if regions else None
    if areas is not None:
        listed |= region_tables(made, areas)
        lists["regions"] = _region_list(listed)
    if event_threshold is not None:
        tell("events", 0, 1)
        events = largest_events(
            pr, area, axis, threshold=event_threshold, periodic_x=_periodic(static)
        )
        lists["events"] = _with_rarity(events, made.get("annual"))
        if not events.empty:
            listed["events"] = event_dataset(lists["events"], axis)

    config = config or _config(pr, static, axis, window)
    contests = {SYSTEM: skill.Contest(pr, true, area, given, axis, config, SYSTEM, keeper)}
    if true is not None and given is not None and grid is not None:
        few = max(1, INTERPOLATED // area.size)
        interpolated = interpolate(given.chunk(time=few).to_dataset(name="pr"), grid)
        contests[BASELINE] = replace(contests[SYSTEM], pr=interpolated, system=BASELINE)
    scores, rows = {}, []
    for system, contest in contests.items():
        stage = f"scores of {system}"
        parts = skill.by_season(
            contest,
            lambda done, total, stage=stage: tell(stage, done, total),  # type: ignore[misc]
        )
        scores[system] = score(skill.whole(parts), replicates=replicates)
        if true is not None:
            tell(f"skill of {system}", 0, 1)
            rows += list(_skill(system, contest, parts, scores[system], areas, replicates))
    if rows:
        lists["skill"] = pd.concat(rows, ignore_index=True)
        listed["skill"] = skill_dataset(lists["skill"])

    tell("figures", 0, 1)
    fields = {"members": (pr, area), "truth": (true, area)}
    if given is not None:
        fields["coarse input"] = (given, coarse_area(area, given))
    material = figures.Material(
        name=name or str(product.attrs.get("title", "product")).split(":")[0],
        axis=axis,
        pr=pr,
        truth=true,
        coarse=given,
        static=static,
        tables=made,
        scores=scores,
        input_scores=None if given is None else on_fine_cells(given, area, config, axis),
        in_time={n: in_time(f, a, axis) for n, (f, a) in fields.items() if f is not None},
        lists=lists,
        regions=tuple(regions),
        curves=curves or {},
    )
    return Diagnosis(
        name=material.name,
        period=str(material.period),
        tables=made,
        scores=scores,
        figures=figures.draw(material),
        animations=figures.animations(material),
        lists=lists,
        listed=listed,
        notes=notes,
        attrs={k: v for k, v in product.attrs.items() if isinstance(v, str | int | float)},
    )


def _skill(
    system: str,
    contest: skill.Contest,
    seasons: Mapping[str, Statistics],
    scored: xr.Dataset,
    areas: xr.DataArray | None,
    replicates: int,
) -> Iterator[pd.DataFrame]:
    """Scores of a system by what they may differ in."""
    yield skill.skill_rows("season", system, seasons, replicates)
    if areas is not None:
        yield skill.skill_rows("region", system, skill.by_region(contest, areas), replicates)
    members = skill.by_members(contest)
    if members:  # else there is nothing to compare all of them with
        members[str(contest.pr.sizes["member"])] = skill.whole(seasons)
        yield skill.skill_rows("members", system, members, replicates)
    yield skill.threshold_rows(system, scored)


def _with_rarity(events: pd.DataFrame, annual: xr.Dataset | None) -> pd.DataFrame:
    """With the return period of each event, where years are enough for one."""
    if annual is None or "rx1step" not in annual or events.empty:
        return events
    try:
        return return_periods_of(events, annual["rx1step"])
    except TooFewMaxima:  # the notes say so of the return levels
        return events


def time_axis_of(product: xr.Dataset) -> TimeAxis:
    """The lattice that a dataset declares by its attributes, or that its first step begins.

    Raises
    ------
    ValueError
        If it has neither `epoch`, `step_seconds` and `calendar` nor `time_bnds`.
    """
    if {"epoch", "step_seconds", "calendar"} <= product.attrs.keys():
        return time_axis(product)
    if "time_bnds" not in product.variables:
        raise ValueError("the product has no time_bnds, so its step is unknown; pass axis=")
    decoded = product["time"].dtype != object  # then it is a standard calendar
    calendar = "standard" if decoded else str(product["time"].dt.calendar)
    bounds = xr.DataArray(product["time_bnds"].values[0], dims="time")
    start, end = as_cftime(bounds, calendar)
    seconds = round((end - start).total_seconds())
    return TimeAxis(epoch=format_time(start), step_seconds=seconds, calendar=calendar)


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


def _config(
    pr: xr.DataArray, static: xr.Dataset, axis: TimeAxis, window: int | WindowLattice | None
) -> ScoreConfig:
    if isinstance(window, int):
        window = WindowLattice(length=window, rule="independent")
    return ScoreConfig(
        window=window.cycle if window is not None and window.cycle > 1 else None,
        window_edges=window.edges if window is not None else (0,),
        periodic_x=_periodic(static),
        block_frames=block_length(pr.sizes["time"], axis.step_seconds),
    )


def _periodic(static: xr.Dataset) -> bool:
    """Whether rows of the grid are whole circles of longitude."""
    said = static.attrs.get("periodic_x")
    if said is not None:
        return bool(int(said))
    return is_periodic(static["lon"].values if "lon" in static.coords else np.zeros(0))


def _region_list(listed: Mapping[str, xr.Dataset]) -> pd.DataFrame:
    """Means over regions of every period of years, seasons and months, and of change."""
    parts = []
    for name, table in listed.items():
        means = of_members(table).assign_coords(region=table["region_name"])
        parts.append(ensemble_summary(means).assign(table=name.removeprefix("regions_")))
    return pd.concat(parts, ignore_index=True)
