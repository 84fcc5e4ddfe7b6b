"""A diagnosis as one HTML page that needs nothing else: no network, no script, no file beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import pandas as pd
import xarray as xr

from stvd.diagnostics.colours import units_text
from stvd.diagnostics.diagnosis import Diagnosis
from stvd.diagnostics.html_figures import (
    OTHERS,
    SECTIONS,
    described,
    figure_element,
    of_year,
    section_of,
    slug,
    title_of,
)
from stvd.diagnostics.html_tables import (
    dataset_tables,
    interval,
    meaning,
    number,
    score_table,
    table,
)
from stvd.diagnostics.pictures import gif, png

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
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
Row = Mapping[str, Any]


def render(
    diagnosis: Diagnosis,
    *,
    year: int | None = None,
    animations: Mapping[str, bytes] | None = None,
) -> str:
    """One page with the numbers, figures, tables, notes and provenance of a diagnosis.

    Every text from the diagnosis is escaped; pictures are inside; the page asks browsers to load
    nothing from elsewhere. The same diagnosis gives the same page.

    Parameters
    ----------
    diagnosis : what `diagnose` found
    year : shows the tables and figures of this year, and those of no year; None: of all years
    animations : name → GIF, shown among the figures

    Returns
    -------
    str, an HTML document, UTF-8

    Raises
    ------
    ValueError
        If the diagnosis says nothing about `year`.
    """
    rows = _area_rows(diagnosis, year)
    heading = diagnosis.name if year is None else f"{diagnosis.name} · {year}"
    sections = {
        "Summary": _summary(diagnosis, rows),
        **_figures(diagnosis, year, animations or {}),
        "Tables": _tables(diagnosis, rows, year),
        "Provenance": _provenance(diagnosis),
    }
    links = "\n".join(f'<li><a href="#{slug(s)}">{escape(s)}</a></li>' for s in sections)
    body = "\n".join(
        f'<section aria-labelledby="{slug(name)}">\n<h2 id="{slug(name)}">{escape(name)}</h2>\n'
        f"{content}\n</section>"
        for name, content in sections.items()
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">
<title>{escape(heading)}</title>
<style>
{files("stvd.diagnostics").joinpath("report.css").read_text("utf-8")}</style>
</head>
<body>
<header>
<h1>{escape(heading)}</h1>
<p class="about">Product of {escape(_period_text(diagnosis.period))} {_badges(rows)}</p>
<nav aria-label="Contents">
<ul>
{links}
</ul>
</nav>
<p class="about hint">A tap or click on a figure shows it at full size, and again as before.</p>
</header>
<main>
{body}
</main>
<footer><p>Maps: coasts and borders made with Natural Earth. Precipitation diagnostics by stvd.</p></footer>
</body>
</html>
"""


def _area_rows(diagnosis: Diagnosis, year: int | None) -> list[Row]:
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


def _badges(rows: Sequence[Row]) -> str:
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
            said = f"{start[:4]}: incomplete, {_period_text(f'{start}/{end}')}"
            found.append(f'<span class="badge part">{escape(said)}</span>')
    return " ".join(found)


def _summary(diagnosis: Diagnosis, rows: Sequence[Row]) -> str:
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


def _card(value: str, units: str, what: str, between: str) -> str:
    said = f' <span class="units">{escape(units)}</span>' if units else ""
    more = f'<span class="range">{escape(between)}</span>' if between else ""
    return (
        f'<li><span class="value">{escape(value)}{said}</span>'
        f'<span class="what">{escape(what)}</span>{more}</li>\n'
    )


def _figures(
    diagnosis: Diagnosis, year: int | None, animations: Mapping[str, bytes]
) -> dict[str, str]:
    """The figures of each section that has any."""
    placed: dict[str, list[str]] = {section: [] for section in (*SECTIONS, OTHERS)}
    for name in of_year(animations, year):
        title = name.replace("_", " ").capitalize()
        alt = f"Animation of precipitation maps of {diagnosis.name}."
        placed[section_of(name)].append(figure_element(name, title, alt, gif(animations[name])))
    for name in of_year(diagnosis.figures, year):
        figure = diagnosis.figures[name]
        title = " · ".join(t for t in title_of(figure, name).split(" · ") if t != diagnosis.name)
        element = figure_element(name, title, described(figure, name), png(figure))
        placed[section_of(name)].append(element)
    return {
        section: '<div class="plots">\n' + "\n".join(elements) + "\n</div>"
        for section, elements in placed.items()
        if elements
    }


def _tables(diagnosis: Diagnosis, rows: Sequence[Row], year: int | None) -> str:
    """Area means, scores, whatever else is not a map, and a list of what the files hold."""
    made = []
    if rows:
        several = len({r["start"] for r in rows}) > 1
        head = ["quantity", "meaning", "units", "mean", "spread", "lowest", "highest"]
        cells = [
            [r["quantity"], r["long_name"], units_text(str(r["units"])),
             *(number(r[k]) for k in ("mean", "std", "min", "max"))]
            for r in rows
        ]  # fmt: skip
        if several:
            head = ["period", *head]
            cells = [
                [_period_text(f"{r['start']}/{r['end']}"), *c]
                for r, c in zip(rows, cells, strict=True)
            ]
        members = rows[0]["members"]
        said = f"Area means: mean, standard deviation and range of {members} members"
        made.append(table(head, cells, caption=said, numbers=range(len(head) - 4, len(head))))
    if diagnosis.scores:
        made.append(score_table(diagnosis.score_record()))
    for name, dataset in diagnosis.tables.items():
        if name not in ("annual", "period_to_date"):
            made += dataset_tables(name, _of_year(dataset, year))
    made.append(_catalogue(diagnosis.tables))
    return "\n".join(m for m in made if m) or "<p>There are none.</p>"


def _of_year(table: xr.Dataset, year: int | None) -> xr.Dataset:
    """The rows of a year, of a table that has times."""
    if year is None or "time" not in table.indexes:
        return table
    return table.isel(time=(table["time"].dt.year == year).values)


def _catalogue(tables: Mapping[str, xr.Dataset]) -> str:
    """The variables of every table, those that are maps among them."""
    rows = [
        [f"{name}.nc", str(variable), str(values.attrs.get("long_name", "")),
         units_text(str(values.attrs.get("units", "1"))),
         " × ".join(f"{size} {dim}" for dim, size in values.sizes.items())]
        for name, dataset in tables.items()
        for variable, values in dataset.data_vars.items()
    ]  # fmt: skip
    if not rows:
        return ""
    return table(
        ["file", "variable", "meaning", "units", "shape"], rows, caption="Variables in the files"
    )


def _provenance(diagnosis: Diagnosis) -> str:
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


def _period_text(period: str) -> str:
    """`start/end` for readers: without the clock where it is midnight."""
    said = [t.removesuffix("T00:00:00").removesuffix(":00") for t in period.split("/")]
    said = [t.replace("T", " ") for t in said]
    return " to ".join(said)
