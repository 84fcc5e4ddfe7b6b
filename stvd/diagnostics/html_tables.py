"""Numbers and tables for reading in a browser."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np
import pandas as pd
import xarray as xr

from stvd.diagnostics.colours import SUPERSCRIPTS, units_text
from stvd.scores import ATTRIBUTES

LONGEST = 200  # rows of a table that is printed
FOLDED = 12  # rows from which a table is folded
MOST = 2000  # values of a variable that is shown in a table
SPACE = {"tile", "y", "x"}


def number(value: object, digits: int = 3) -> str:
    """A number for readers: three digits, powers of ten where it is tiny or huge, – where there is none.

    >>> number(0.00002033), number(1234.6), number(0.5), number(float("nan")), number(7)
    ('2.03 × 10⁻⁵', '1235', '0.500', '–', '7')
    """
    if not isinstance(value, int | float | np.number) or isinstance(value, bool):
        return str(value)
    if isinstance(value, int | np.integer):
        return str(int(value))
    value = float(value)
    if not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    power = math.floor(math.log10(abs(value)))
    if -3 <= power < 6:
        return f"{value:.{max(digits - 1 - power, 0)}f}"
    return f"{value / 10.0**power:.{digits - 1}f} × 10{str(power).translate(SUPERSCRIPTS)}"


def interval(low: object, high: object) -> str:
    """`low to high`, nothing where there is none."""
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return ""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"{number(low)} to {number(high)}"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    caption: str,
    numbers: Iterable[int] = (),
    count: int | None = None,
) -> str:
    """A table that scrolls sideways within itself; every text is escaped here.

    Parameters
    ----------
    numbers : columns that are aligned as numbers
    count : how many rows there are, if more than are given
    """
    right = set(numbers)

    def cell(tag: str, place: int, text: str) -> str:
        kind = ' class="number"' if place in right else ""
        scope = ' scope="col"' if tag == "th" else ""
        return f"<{tag}{kind}{scope}>{escape(text)}</{tag}>"

    top = "".join(cell("th", k, text) for k, text in enumerate(head))
    body = "\n".join(
        "<tr>" + "".join(cell("td", k, text) for k, text in enumerate(row)) + "</tr>"
        for row in rows[:LONGEST]
    )
    count = len(rows) if count is None else count
    more = f" (the first {LONGEST} of them)" if count > LONGEST else ""
    said = escape(caption)
    made = (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{said}"><table>'
        f"<thead><tr>{top}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"
    )
    if len(rows) > FOLDED:
        return f"<details><summary>{said}: {count} rows{more}</summary>\n{made}</details>"
    return f"<h3>{said}</h3>\n{made}"


def score_table(record: dict[str, dict[str, dict[str, float | str | None]]]) -> str:
    """Scores in rows, systems in columns, each value with its 90% interval."""
    names = list(dict.fromkeys(name for scores in record.values() for name in scores))
    rows = []
    for name in names:
        entries = [scores.get(name, {}) for scores in record.values()]
        units = next((str(e["units"]) for e in entries if e.get("units")), "1")
        cells = []
        for entry in entries:
            between = interval(entry.get("low"), entry.get("high"))
            value = number(entry["value"]) if entry.get("value") is not None else "–"
            cells.append(f"{value} ({between})" if between else value)
        rows.append([name, meaning(name), units_text(units), *cells])
    head = ["score", "meaning", "units", *record]
    return table(head, rows, caption="Scores with 90% intervals", numbers=range(3, len(head)))


def meaning(score: str) -> str:
    """What a score is, by the longest name in `stvd.scores` that it begins with."""
    if score.endswith("_ratio") and score[:1] == "p" and score[1:2].isdigit():
        share = score.removeprefix("p").removesuffix("_ratio").replace("_", ".")
        return f"{ATTRIBUTES['quantile_ratio'][0]} · {share}%"
    known = [k for k in ATTRIBUTES if score == k or score.startswith(f"{k}_")]
    if not known:
        return ""
    base = max(known, key=len)
    return " · ".join([ATTRIBUTES[base][0], *score[len(base) :].split("_")[1:]])


def dataset_tables(name: str, dataset: xr.Dataset) -> list[str]:
    """Those variables of a dataset that are neither maps nor long, a table for each set of dimensions."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for variable, values in dataset.data_vars.items():
        dims = tuple(str(d) for d in values.dims)
        if dims and not SPACE & set(dims) and "bnds" not in dims and 0 < values.size <= MOST:
            groups.setdefault(dims, []).append(str(variable))
    return [_of_dims(name, dataset[chosen], dims) for dims, chosen in groups.items()]


def _of_dims(name: str, part: xr.Dataset, dims: tuple[str, ...]) -> str:
    drop = [
        c for c, v in part.coords.items()
        if SPACE & set(v.dims) or "bnds" in v.dims or "grid_mapping_name" in v.attrs
    ]  # fmt: skip
    frame = part.drop_vars(drop).to_dataframe(dim_order=list(dims)).reset_index()
    units = {str(n): str(v.attrs.get("units", "1")) for n, v in part.variables.items()}
    return frame_table(f"{name} by {' and '.join(dims)}", frame, units)


def frame_table(name: str, frame: pd.DataFrame, units: Mapping[str, str] | None = None) -> str:
    """A data frame as it is, a row for each of its rows; `units` by column."""
    head, numbers = [], []
    for place, column in enumerate(map(str, frame.columns)):
        said = (units or {}).get(column, "1")
        said = units_text(said) if " since " not in said else ""
        head.append(f"{column} ({said})" if said else column)
        if pd.api.types.is_numeric_dtype(frame[column]):
            numbers.append(place)
    shown = frame.head(LONGEST).itertuples(index=False)
    rows = [[_text(value) for value in row] for row in shown]
    return table(head, rows, caption=name, numbers=numbers, count=len(frame))


def _text(value: object) -> str:
    if isinstance(value, pd.Timestamp) or hasattr(value, "calendar"):
        return str(value)[:19]
    return number(value)
