"""Charts of a climate: return levels, the seasonal and the diurnal cycle, years and their trend.

Every function returns a matplotlib `Figure` of its own. Bands and marks are those of the members.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, StrMethodFormatter
from scipy.interpolate import PchipInterpolator

from stvd.diagnostics.colours import FAINT, INK, units_text
from stvd.diagnostics.plots import COLOURS, chart, line_of

MONTHS = "JFMAMJJASOND"


def return_level_plot(
    levels: xr.DataArray,
    interval: xr.DataArray | None = None,
    maxima: xr.DataArray | None = None,
    *,
    title: str = "",
) -> Figure:
    """Return levels of one place against return period, with their interval and the maxima behind them.

    Maxima stand at the plotting positions of Gringorten (1963): the i-th smallest of n is not exceeded
    with chance (i − 0.44) / (n + 0.12), so its return period is (n + 0.12) / (n − i + 0.56).

    Parameters
    ----------
    levels : DataArray, shape (return_period,), with `units` and `long_name`
    interval : DataArray, shape (quantile, return_period), lower and upper bound; `quantile` 0…1
    maxima : DataArray of any shape, the annual maxima that were pooled, the units of `levels`
    """
    said, units = levels.attrs.get("long_name", "return level"), levels.attrs.get("units", "")
    figure, axes = chart(title, "return period (years)", f"{said} ({units_text(units)})")
    years = levels["return_period"].values
    if interval is not None:
        low, high = interval.sortby("quantile").transpose("quantile", ...).values[[0, -1]]
        share = float(interval["quantile"].max() - interval["quantile"].min())
        axes.fill_between(
            *_smooth(years, low), _smooth(years, high)[1], color=COLOURS[0], alpha=0.22, lw=0,
            label=f"{100 * share:.0f}% interval",
        )  # fmt: skip
    axes.plot(*_smooth(years, levels.values), color=COLOURS[0], linewidth=1.8, label="GEV fit")
    first = float(years[0])
    if maxima is not None:
        position, value = plotting_positions(maxima)
        axes.plot(
            position, value, linestyle="", marker="o", markersize=3.5, markerfacecolor="white",
            color=INK, markeredgewidth=0.9, label=f"{value.size} annual maxima",
        )  # fmt: skip
        first = min(first, float(position[0])) if position.size else first
        if position.size and years[-1] > 2 * position[-1]:
            axes.axvline(position[-1], color=FAINT, linewidth=0.8, linestyle=":")
            axes.text(
                position[-1], 0.02, " extrapolated", transform=axes.get_xaxis_transform(),
                fontsize=8, color=FAINT,
            )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xticks([t for t in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if t <= 1.2 * years[-1]])
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(0.95 * first, 1.1 * float(years[-1]))
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    return figure


def _smooth(years: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A curve through levels of a few return periods, monotone where they are (PCHIP in log years)."""
    if len(years) < 3 or not np.isfinite(values).all():
        return years, values
    dense = np.unique(np.concatenate([years, np.geomspace(years[0], years[-1], 80)]))
    return dense, PchipInterpolator(np.log(years), values)(np.log(dense))


def plotting_positions(maxima: xr.DataArray) -> tuple[np.ndarray, np.ndarray]:
    """Return periods (n + 0.12) / (n − i + 0.56), years, and the maxima in ascending order; no NaN."""
    values = np.sort(maxima.values.ravel())
    values = values[np.isfinite(values)]
    rank = np.arange(1, values.size + 1)
    return (values.size + 0.12) / (values.size - rank + 0.56), values


def seasonal_cycle(
    members: xr.DataArray, others: Mapping[str, xr.DataArray] | None = None, *, title: str = ""
) -> Figure:
    """Mean of each calendar month: the members' range, their mean, and other systems.

    Parameters
    ----------
    members : DataArray, shape (member, month), `month` 1…12 as far as there are any; `units`, `long_name`
    others : name → DataArray, shape (month,), for example truth or a reference period
    """
    figure, axes = _cycle(members, "month", others or {}, title)
    axes.set_xlabel("month", fontsize=9.5, color=INK)
    axes.set_xticks(range(1, 13), list(MONTHS))
    axes.set_xlim(0.5, 12.5)
    return figure


def diurnal_cycle(
    members: xr.DataArray, others: Mapping[str, xr.DataArray] | None = None, *, title: str = ""
) -> Figure:
    """Mean of each time of day: the members' range, their mean, and other systems.

    Parameters
    ----------
    members : DataArray, shape (member, hour), `hour` 0…24 of UTC or of local time (its `long_name`
        says which); `units`, `long_name`
    others : name → DataArray, shape (hour,)
    """
    turned = {name: _around_the_clock(values) for name, values in (others or {}).items()}
    figure, axes = _cycle(_around_the_clock(members), "hour", turned, title)
    axes.set_xlabel(str(members["hour"].attrs.get("long_name", "hour of day (UTC)")), fontsize=9.5)
    axes.set_xticks(range(0, 25, 3))
    axes.set_xlim(0, 24)
    return figure


def yearly_series(
    members: xr.DataArray,
    others: Mapping[str, xr.DataArray] | None = None,
    *,
    trend: tuple[float, float, float] | None = None,
    title: str = "",
) -> Figure:
    """A quantity of every year: each member a dot, their mean a line, and the trend with its interval.

    Parameters
    ----------
    members : DataArray, shape (member, year), `year` whole numbers; `units`, `long_name`
    others : name → DataArray, shape (year,)
    trend : slope per decade, and the lower and upper bound of it, in the units of `members`
    """
    figure, axes = chart(title, "year", _label(members), size=(9.0, 3.6))
    years = members["year"].values
    mean = members.mean("member")
    for k, member in enumerate(members.transpose("member", "year").values):
        label = "members" if k == 0 and members.sizes["member"] > 1 else None
        axes.plot(years, member, ".", color=COLOURS[0], alpha=0.35, markersize=5, label=label)
    axes.plot(years, mean.values, color=COLOURS[0], linewidth=1.6, label="ensemble mean")
    if trend is not None:
        slope = trend[0]
        about = float(mean.mean()) + slope * (years - years.mean()) / 10
        rate, least, most = (f"{v:+.3g}" if abs(v) < 1000 else f"{v:+.0f}" for v in trend)
        said = f"trend {rate} ({least} to {most}) {_units(members)} per decade"
        axes.plot(years, about, color=COLOURS[4], linewidth=1.4, linestyle="--", label=said)
    _others(axes, others or {}, "year")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(frameon=False, fontsize=9, ncols=3, loc="outside lower center")
    return figure


def exceedance_curve(share: xr.DataArray, threshold: str, *, title: str = "") -> Figure:
    """Share of the area above each threshold: the members' range and their mean.

    Parameters
    ----------
    share : DataArray, shape (member, threshold), 0…1, with `long_name`
    threshold : name of its dimension of thresholds, a coordinate with `units`
    """
    at = share[threshold]
    figure, axes = chart(title, f"threshold ({_units(at)})", "share of the area above it (%)")
    low, mean, high = (100 * getattr(share, how)("member") for how in ("min", "mean", "max"))
    if share.sizes["member"] > 1:
        axes.fill_between(at.values, low, high, color=COLOURS[0], alpha=0.25, lw=0,
                          label=f"range of {share.sizes['member']} members")  # fmt: skip
    axes.plot(at.values, mean, color=COLOURS[0], marker="o", ms=3.5, lw=1.8, label="ensemble mean")
    axes.set_xscale("log")
    axes.set_xticks(at.values, [f"{v:g}" for v in at.values])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, fontsize=9)
    return figure


def _cycle(
    members: xr.DataArray, dim: str, others: Mapping[str, xr.DataArray], title: str
) -> tuple[Figure, Axes]:
    figure, axes = chart(title, "", _label(members), size=(6.4, 3.8))
    at, mean = members[dim].values, members.mean("member").values
    if members.sizes["member"] > 1:
        low, high = members.min("member").values, members.max("member").values
        axes.fill_between(
            at, low, high, color=COLOURS[0], alpha=0.25, lw=0,
            label=f"range of {members.sizes['member']} members",
        )  # fmt: skip
    axes.plot(at, mean, color=COLOURS[0], marker="o", markersize=3.5, lw=1.8, label="ensemble mean")
    _others(axes, others, dim)
    axes.set_ylim(bottom=0)
    figure.legend(frameon=False, fontsize=9, ncols=4, loc="outside lower center")
    return figure, axes


def _around_the_clock(values: xr.DataArray) -> xr.DataArray:
    """The last hour before the first and the first after the last, so that the curve closes."""
    ends = [values.isel(hour=[k]) for k in (-1, 0)]
    before, after = (
        e.assign_coords(hour=e["hour"] + t) for e, t in zip(ends, (-24, 24), strict=True)
    )
    closed = xr.concat([before, values, after], "hour")
    closed["hour"].attrs = dict(values["hour"].attrs)
    return closed


def _others(axes: Axes, others: Mapping[str, xr.DataArray], dim: str) -> None:
    for name, values in others.items():
        look = line_of(name, ["members", *others])
        axes.plot(values[dim].values, values.values, label=name, ls="--", **look)


def _units(values: xr.DataArray) -> str:
    return units_text(str(values.attrs.get("units", "")))


def _label(values: xr.DataArray) -> str:
    return f"{values.attrs.get('long_name', values.name or '')} ({_units(values)})"
