"""A diagnosis as one HTML page that needs nothing else: no network, no script, no file beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files

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
from stvd.diagnostics.html_summary import (
    Row,
    area_rows,
    badges,
    period_text,
    provenance,
    summary,
)
from stvd.diagnostics.html_tables import (
    dataset_tables,
    frame_table,
    number,
    score_table,
    table,
)
from stvd.diagnostics.pictures import Album, Picture, gif

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render(
    diagnosis: Diagnosis,
    *,
    year: int | None = None,
    animations: Mapping[str, bytes] | None = None,
    pictures: Mapping[str, Picture] | None = None,
) -> str:
    """One page with the numbers, figures, tables, notes and provenance of a diagnosis.

    Every text from the diagnosis is escaped; pictures are inside; the page asks browsers to load
    nothing from elsewhere. The same diagnosis gives the same page.

    Parameters
    ----------
    diagnosis : what `diagnose` found
    year : shows the tables and figures of this year, and those of no year; None: of all years
    animations : name → GIF, shown among the figures; by default those of the diagnosis
    pictures : its figures as pictures, an `Album` for example, for pages that share them

    Returns
    -------
    str, an HTML document, UTF-8

    Raises
    ------
    ValueError
        If the diagnosis says nothing about `year`.
    """
    rows = area_rows(diagnosis, year)
    heading = diagnosis.name if year is None else f"{diagnosis.name} · {year}"
    sections = {
        "Summary": summary(diagnosis, rows),
        **_figures(
            diagnosis,
            year,
            diagnosis.animations if animations is None else animations,
            Album(diagnosis.figures) if pictures is None else pictures,
        ),
        "Tables": _tables(diagnosis, rows, year),
        "Provenance": provenance(diagnosis),
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
<p class="about">Product of {escape(period_text(diagnosis.period))} {badges(rows)}</p>
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


def _figures(
    diagnosis: Diagnosis,
    year: int | None,
    animations: Mapping[str, bytes],
    pictures: Mapping[str, Picture],
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
        element = figure_element(name, title, described(figure, name), pictures[name])
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
                [period_text(f"{r['start']}/{r['end']}"), *c]
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
    for name, listed in diagnosis.lists.items():
        made.append(frame_table(name, _rows_of_year(listed, year)))
    made.append(_catalogue(diagnosis.tables))
    return "\n".join(m for m in made if m) or "<p>There are none.</p>"


def _of_year(table: xr.Dataset, year: int | None) -> xr.Dataset:
    """The rows of a year, of a table that has times."""
    if year is None or "time" not in table.indexes:
        return table
    return table.isel(time=(table["time"].dt.year == year).values)


def _rows_of_year(listed: pd.DataFrame, year: int | None) -> pd.DataFrame:
    """The rows that begin in a year, or in none, of a list that has beginnings."""
    if year is None or "start" not in listed:
        return listed
    begins = listed["start"]
    return listed[begins.isna() | (begins.astype(str).str[:4] == f"{year:04d}")]


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
