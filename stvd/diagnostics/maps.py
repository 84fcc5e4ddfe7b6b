"""Figures that are maps: one moment, a period, many indices, return levels, change and agreement.

Every function returns a matplotlib `Figure` of its own; nothing touches pyplot's global state. Fields
have the dimensions ([tile,] y, x), with the coordinates of their grid where it has any. `grid` is always
the static Dataset of the fine grid, whose `land_fraction` and `orog` tint and shade the land.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from stvd.diagnostics.canvas import Canvas
from stvd.diagnostics.colours import (
    INK,
    Scale,
    amount_scale,
    linear_scale,
    quantity_scale,
    rain_scale,
    signed_scale,
    units_text,
)
from stvd.diagnostics.plots import MM_PER_HOUR

Field = xr.DataArray


def panel(
    pr: Field,
    coarse: Field,
    *,
    truth: Field | None = None,
    grid: xr.Dataset | None = None,
    title: str = "",
    shown: int = 3,
) -> Figure:
    """Input, truth, members, mean and spread at one time, on one scale.

    Parameters
    ----------
    pr : DataArray, shape (member, [tile,] y, x), kg m-2 s-1, with the coordinates of the grid
    coarse : DataArray, shape ([tile,] y / factor, x / factor), kg m-2 s-1
    truth : DataArray, shape ([tile,] y, x), kg m-2 s-1; with it the error of the mean is shown too
    title : what and when, for example the product and the bounds of the step
    shown : how many members are drawn, at most 3
    """
    mean = pr.mean("member")
    fields = moment(pr, coarse, truth, shown=shown) | {"ensemble mean": mean}
    if pr.sizes["member"] > 1:
        fields["ensemble spread"] = pr.std("member", ddof=1)
    if truth is not None:
        fields["|mean − truth|"] = abs(mean - truth)
    fields = {name: field * MM_PER_HOUR for name, field in fields.items()}
    scale = rain_scale(0.1, high(fields), "mm h⁻¹")
    return sheet(fields, Canvas(pr, grid), scale, "precipitation rate", title=title)


def moment(
    pr: Field, coarse: Field | None, truth: Field | None, *, shown: int = 3
) -> dict[str, Field]:
    """Input, truth and the first members by the names that they have on maps."""
    fields = {} if coarse is None else {"coarse input": coarse}
    if truth is not None:
        fields["truth"] = truth
    count = min(shown, pr.sizes["member"], 3)
    return fields | {member_name(m, k): m for k in range(count) for m in [pr.isel(member=k)]}


def period_map(
    table: xr.Dataset, name: str, *, grid: xr.Dataset | None = None, title: str = ""
) -> Figure:
    """A quantity of a period: the ensemble's mean and spread, side by side on one scale.

    Parameters
    ----------
    table : Dataset of one period: `{name}_mean` and, for an ensemble, `{name}_std`
    name : a precipitation quantity of the table, for example `pr_total` or `rx1day`
    """
    fields = {"ensemble mean": table[f"{name}_mean"]}
    if f"{name}_std" in table:
        fields["ensemble spread"] = table[f"{name}_std"]
    mean = fields["ensemble mean"]
    scale = amount_scale(_all(fields), units_text(str(mean.attrs["units"])))
    what = str(mean.attrs["long_name"]).removeprefix("ensemble mean of the ")
    return sheet(fields, Canvas(mean, grid), scale, what, title=title, width=4.4)


def index_maps(
    table: xr.Dataset, names: Sequence[str], *, grid: xr.Dataset | None = None, title: str = ""
) -> Figure:
    """The ensemble mean of many indices of a period, each on the scale that suits it.

    Parameters
    ----------
    table : Dataset of one period with `{name}_mean` of the names
    """
    fields = {n: table[f"{n}_mean"] for n in names}
    first = next(iter(fields.values()))
    canvas = Canvas(first, grid)
    columns = 2 if canvas.wide else min(4, len(fields))
    figure, axes = axes_for(len(fields), canvas, columns, width=3.1, bars=True)
    for place, (name, field) in zip(axes, fields.items(), strict=True):
        units = str(field.attrs["units"])
        scale = quantity_scale(name, units, field.values)
        canvas.draw(place, field, scale)
        canvas.dress(place, name, covered=scale.below != "blank")
        what = str(field.attrs["long_name"]).removeprefix("ensemble mean of the ")
        scale.bar(figure, [place], what, small=True)
    share_labels(axes, columns)
    _head(figure, title)
    return figure


def level_maps(
    levels: Field,
    shown: Sequence[float] = (2, 10, 50, 100),
    *,
    grid: xr.Dataset | None = None,
    title: str = "",
) -> Figure:
    """Return levels side by side on one scale, for those of the return periods that there are.

    Parameters
    ----------
    levels : DataArray, shape (return_period, [tile,] y, x), with `units` and `long_name`
    """
    there = [p for p in shown if p in levels["return_period"].values]
    fields = {f"{p:g} years": levels.sel(return_period=p) for p in there}
    scale = amount_scale(_all(fields), units_text(str(levels.attrs["units"])))
    what = str(levels.attrs.get("long_name", "return level"))
    canvas = Canvas(levels.isel(return_period=0), grid)
    return sheet(fields, canvas, scale, what, title=title)


def rarity_map(years: Field, *, grid: xr.Dataset | None = None, title: str = "") -> Figure:
    """A return period in years, in steps of 1, 2, 5; grey where there is none."""
    canvas = Canvas(years, grid)
    scale = rain_scale(1, high({"": years}), "years")
    what = str(years.attrs.get("long_name", "return period"))
    return sheet({"": years}, canvas, scale, what, title=title, width=6.4)


def agreement_map(
    share: Field, what: str, *, grid: xr.Dataset | None = None, title: str = ""
) -> Figure:
    """The share of the members that something holds for, 0…1; `what` says for what."""
    scale = linear_scale(0.0, 1.0, "", above=False)
    return sheet({"": share}, Canvas(share, grid), scale, what, title=title, width=6.4)


def signed_map(
    fields: Mapping[str, Field],
    what: str,
    units: str,
    *,
    doubtful: Mapping[str, Field] | None = None,
    doubt: str = "not significant",
    grid: xr.Dataset | None = None,
    title: str = "",
) -> Figure:
    """Trends or changes about zero, brown for less and blue-green for more, dotted where doubtful.

    Parameters
    ----------
    fields : name → DataArray, in `units`
    what : what the values are, for the bar
    doubtful : name → DataArray of bool, true where the sign is not significant; those cells are dotted
    doubt : what the dots say
    """
    marked = doubtful or {}
    canvas = Canvas(next(iter(fields.values())), grid)
    extent = max(float(np.nanquantile(abs(f.values), 0.99)) for f in fields.values())
    scale = signed_scale(extent, units_text(units))
    if marked:
        what = f"{what}; dots: {doubt}"
    width = 6.4 if len(fields) == 1 else 4.4
    figure = sheet(fields, canvas, scale, what, title=title, width=width)
    for place, name in zip(figure.axes, fields, strict=False):
        if name in marked:
            canvas.dots(place, marked[name])
    return figure


def variance_map(
    pr: Field, truth: Field | None, *, grid: xr.Dataset | None = None, title: str = ""
) -> Figure:
    """Variance of the members and, with truth, the squared error of their mean, on one scale.

    Parameters
    ----------
    pr : DataArray, shape (member, [tile,] y, x), kg m-2 s-1
    truth : DataArray, shape ([tile,] y, x), kg m-2 s-1
    """
    square = MM_PER_HOUR**2
    fields = {"variance of the members": pr.var("member", ddof=1) * square}
    if truth is not None:
        fields["squared error of their mean"] = (pr.mean("member") - truth) ** 2 * square
    top = high(fields)
    scale = rain_scale(max(top / 1000, 0.01), max(top, 0.1), "mm² h⁻²")
    width = 6.4 if truth is None else 4.4
    return sheet(fields, Canvas(pr, grid), scale, "variance", title=title, width=width)


def sheet(
    fields: Mapping[str, Field],
    canvas: Canvas,
    scale: Scale,
    what: str,
    *,
    title: str = "",
    width: float = 3.3,
) -> Figure:
    """Maps of one grid on one scale, with one bar below all; `width` in inches of each."""
    most = {True: 2, False: 4 if len(fields) > 6 or len(fields) == 4 else 3}[canvas.wide]
    columns = min(most, len(fields))
    figure, axes = axes_for(len(fields), canvas, columns, width=width)
    for place, (name, field) in zip(axes, fields.items(), strict=True):
        canvas.draw(place, field, scale)
        canvas.dress(place, name, covered=scale.below != "blank")
    share_labels(axes, columns)
    scale.bar(figure, axes, what)
    _head(figure, title)
    return figure


def high(fields: Mapping[str, Field]) -> float:
    """The value that one cell in 2000 exceeds: the few above it take the colour of the arrow."""
    tops = [float(np.nanquantile(f, 0.9995)) for f in fields.values() if bool(f.notnull().any())]
    return max(tops, default=1.0)


def _head(figure: Figure, title: str) -> None:
    """What and when, above all maps, on as many lines as it takes."""
    figure.suptitle(fill(title, round(10 * figure.get_figwidth())), fontsize=12, color=INK)


def _all(fields: Mapping[str, Field]) -> np.ndarray:
    return np.concatenate([f.values.ravel() for f in fields.values()])


def member_name(member: Field, index: int) -> str:
    """By its number in the ensemble, where it has one."""
    numbers = [int(member[c]) for c in ("realization", "member") if c in member.coords]
    return f"member {numbers[0] if numbers else index}"


def axes_for(
    count: int, canvas: Canvas, columns: int, *, width: float, bars: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure with so many maps, as high as they and their bars need."""
    width = max(width, 5.4) if canvas.wide else width
    rows = -(-count // columns)
    height = rows * (width * 0.9 * canvas.plane.ratio + 0.35 + 0.7 * bars) + (0.5 if bars else 1.1)
    layout = ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.04, wspace=0.02, hspace=0.02)
    figure = Figure(figsize=(width * columns, height), layout=layout, dpi=120)
    axes = list(np.atleast_1d(figure.subplots(rows, columns)).ravel())
    for place in axes[count:]:
        place.set_axis_off()
    return figure, axes[:count]


def share_labels(axes: Sequence[Axes], columns: int) -> None:
    """Tick labels only at the left and the bottom of a group of equal maps."""
    for index, place in enumerate(axes):
        if index % columns:
            place.set_ylabel("")
            place.tick_params(labelleft=False)
        if index + columns < len(axes):
            place.set_xlabel("")
            place.tick_params(labelbottom=False)
