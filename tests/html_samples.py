"""A small diagnosis with everything in it that a report can show."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from PIL import Image

from stvd.diagnostics import Diagnosis
from stvd.diagnostics.ensemble import with_ensemble

HOSTILE = "<script>alert('1')</script>"


def annual(years: list[int], members: int = 3, complete: bool = True) -> xr.Dataset:
    rng = np.random.default_rng(0)
    shape = (len(years), members, 4, 6)
    about = {
        "pr_total": ("mm", "total precipitation", 800.0),
        "rx1day": ("mm", "largest 1-day precipitation", 60.0),
        "wet_day_fraction": ("1", "share of days with at least 1 mm", 0.4),
        "cdd": ("day", "longest run of days below 1 mm", 20.0),
    }
    dims = ("time", "member", "y", "x")
    table = xr.Dataset(
        {
            name: (dims, (high * rng.uniform(0.9, 1.1, shape)).astype(np.float32),
                   {"units": units, "long_name": said, "cell_methods": "time: sum area: mean"})
            for name, (units, said, high) in about.items()
        }
    )  # fmt: skip
    edges = [
        (pd.Timestamp(year, 1, 1), pd.Timestamp(year + complete, 1 + 3 * (not complete), 1))
        for year in years
    ]
    area = xr.DataArray(np.ones((4, 6)), dims=("y", "x"), attrs={"units": "m2"})
    bounds = np.array(edges, dtype="datetime64[ns]")
    return with_ensemble(table, area).assign_coords(
        time=("time", bounds[:, 0] + (bounds[:, 1] - bounds[:, 0]) / 2),
        time_bnds=(("time", "bnds"), bounds),
        year=("time", years),
        complete=("time", np.full(len(years), int(complete), np.int8)),
        days=("time", [365 if complete else 90] * len(years)),
        areacella=area,
    )


def scores() -> xr.Dataset:
    """As `stvd.scores.score` makes them: value, low and high along `estimate`."""
    from rain_samples import area, rain, record

    from stvd.piece_statistics import ScoreConfig
    from stvd.scores import score_ensemble

    pr, truth = record(rain((3, 30, 8, 8))), record(rain((30, 8, 8), 1))
    config = ScoreConfig(scales=(1,), block_frames=5)
    return score_ensemble(pr, truth, area(np.ones((8, 8))), config=config, replicates=10)


def chart(title: str, size: tuple[float, float] = (4.0, 3.0)) -> Figure:
    figure = Figure(figsize=size, dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], label="truth")
    axes.set(xlabel="rain rate (mm h⁻¹)", ylabel="share")
    axes.set_title(title, loc="left")
    axes.legend()
    return figure


def animation() -> bytes:
    frames = [Image.new("P", (320, 200), k) for k in (0, 1)]
    buffer = io.BytesIO()
    frames[0].save(buffer, format="GIF", save_all=True, append_images=frames[1:], duration=300)
    return buffer.getvalue()


def diagnosis(name: str = "gcm_demo", note: str = "2002 is not complete: to date.") -> Diagnosis:
    figures = {
        "panel": chart(f"{name} · 2001-01-01 00:00–03:00 UTC · 3-hour mean", (11, 6)),
        "spectra": chart(f"Spectra · {name} · 2001 to 2002"),
        "rank_histogram": chart(f"Ranks · {name}"),
        "rx1day_2001": chart(f"Largest 1-day precipitation · {name} · 2001", (9, 4)),
        "rx1day_2002_to_date": chart(f"Largest 1-day precipitation · {name} · 2002", (9, 4)),
        "something_new": chart("Unheard of"),
    }
    events = xr.Dataset(
        {
            "peak": ("event", np.linspace(90, 20, 15), {"units": "mm h-1"}),
            "start": ("event", pd.date_range("2001-01-01", periods=15)),
        },
        coords={"event": np.arange(1, 16)},
    )
    return Diagnosis(
        name=name,
        period="2001-01-01T00:00:00/2002-04-01T00:00:00",
        tables={
            "annual": annual([2001]),
            "period_to_date": annual([2002], complete=False),
            "events": events,
        },
        scores={"stvd": scores()},
        figures=figures,
        notes=(note,),
        attrs={
            "product_snapshot": "XZYA1ZSCGR0WM5WHRV3G",
            "checkpoint_digest": "sha256:" + "9f" * 32,
            "history": "made\nextended",
            "stvd_version": "0.1.0",
        },
    )
