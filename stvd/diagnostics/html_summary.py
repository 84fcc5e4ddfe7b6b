"""The head of a report, its first numbers and notes, and where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from stvd.diagnostics.colours import units_text
from stvd.diagnostics.diagnosis import Diagnosis
from stvd.diagnostics.html_tables import interval, meaning, number

# What a reader wants to know first, in this order, as far as it is there.
QUANTITIES = (
    "pr_total",
    "wet_day_fraction",
    "rx1day",
    "rx5day",
    "rx1step",
    "r20mm",
    "r95ptot",
    "cdd",
)
SKILL = ("crps_fair", "spread_skill")
# Provenance that stands first; all other attributes follow.
FIRST = ("product_snapshot", "snapshot", "checkpoint_digest", "checkpoint", "model", "fingerprint")
Row = Mapping[str, Any]


def area_rows(diagnosis: Diagnosis, year: int | None) -> list[Row]:
    """Area means of every quantity and period of the year, with the words for each quantity."""
    known = [k for k in ("annual", "period_to_date") if k in diagnosis.tables]
    if not known:
        if year is not None:
            raise ValueError(
                f"{diagnosis.name} has no table of years, so there is no page of {year}"
            )
        return []
    names = {
        str(n): str(v.attrs.get("long_name", n))
        for k in known
        for n, v in diagnosis.tables[k].data_vars.items()
    }
    rows: list[Row] = [
        {**{str(k): v for k, v in row.items()}, "long_name": names.get(row["quantity"], "")}
        for row in diagnosis.area_table().to_dict("records")
    ]
    chosen = [r for r in rows if year is None or r["start"][:4] == f"{year:04d}"]
    if not chosen:
        there = ", ".join(sorted({r["start"][:4] for r in rows}))
        raise ValueError(f"{diagnosis.name} has no year {year}; there is {there}")
    return chosen


def badges(rows: Sequence[Row]) -> str:
    """Whether each period is a complete year."""
    periods = {(r["start"], r["end"], r["complete"]): None for r in rows}
    found = []
    if len(periods) > 3:
        whole = sum(complete for _, _, complete in periods)
        return (
            f'<span class="badge">{whole} complete years, {len(periods) - whole} incomplete</span>'
        )
    for start, end, complete in periods:
        if complete:
            found.append(f'<span class="badge">{escape(start[:4])}: complete year</span>')
        else:
            said = f"{start[:4]}: incomplete, {period_text(f'{start}/{end}')}"
            found.append(f'<span class="badge part">{escape(said)}</span>')
    return " ".join(found)


def summary(diagnosis: Diagnosis, rows: Sequence[Row]) -> str:
    """Cards with the first numbers, and the notes."""
    found = []
    if rows:
        last = max((r["complete"], r["start"]) for r in rows)
        at = {r["quantity"]: r for r in rows if (r["complete"], r["start"]) == last}
        several = len({r["start"] for r in rows}) > 1
        when = f" {last[1][:4]}" if several else ""
        for name in QUANTITIES:
            if name in at and pd.notna(at[name]["mean"]):
                row = at[name]
                range_ = interval(row["min"], row["max"]) if row["members"] > 1 else ""
                found.append(
                    _card(
                        number(row["mean"]),
                        units_text(str(row["units"])),
                        f"{row['long_name']}, area mean{when}",
                        f"{row['members']} members: {range_}" if range_ else "",
                    )
                )
    system, scores = next(iter(diagnosis.score_record().items()), ("", {}))
    for name in SKILL:
        entry = scores.get(name)
        if entry is not None and entry["value"] is not None:
            between = interval(entry["low"], entry["high"])
            found.append(
                _card(
                    number(entry["value"]),
                    units_text(str(entry["units"] or "1")),
                    f"{meaning(name)}, {system}",
                    f"90% interval {between}" if between else "",
                )
            )
    cards = f'<ul class="cards">\n{"".join(found)}</ul>' if found else ""
    notes = "\n".join(f"<li>{escape(note)}</li>" for note in diagnosis.notes)
    listed = f'<h3>Read before use</h3>\n<ul class="notes">\n{notes}\n</ul>' if notes else ""
    return "\n".join(part for part in (cards, listed) if part) or "<p>Nothing to sum up.</p>"


def provenance(diagnosis: Diagnosis) -> str:
    """Where the numbers come from: the product, its period and members, and all attributes."""
    members = next(
        (t.sizes["member"] for t in diagnosis.tables.values() if "member" in t.sizes), None
    )
    attrs = {str(k): v for k, v in diagnosis.attrs.items()}
    ordered = {k: attrs[k] for k in FIRST if k in attrs} | attrs
    facts: dict[str, object] = {"product": diagnosis.name, "period": diagnosis.period}
    facts |= {} if members is None else {"members": members}
    items = "\n".join(
        f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(str(value))}</dd>"
        for name, value in (facts | ordered).items()
    )
    return f"<dl>\n{items}\n</dl>"


def period_text(period: str) -> str:
    """`start/end` for readers: without the clock where it is midnight."""
    said = [t.removesuffix("T00:00:00").removesuffix(":00") for t in period.split("/")]
    said = [t.replace("T", " ") for t in said]
    return " to ".join(said)


def _card(value: str, units: str, what: str, between: str) -> str:
    said = f' <span class="units">{escape(units)}</span>' if units else ""
    more = f'<span class="range">{escape(between)}</span>' if between else ""
    return (
        f'<li><span class="value">{escape(value)}{said}</span>'
        f'<span class="what">{escape(what)}</span>{more}</li>\n'
    )
