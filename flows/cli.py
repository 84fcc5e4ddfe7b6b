"""The `stvd` command. Each command imports what it needs when it runs, so that help is quick."""

from __future__ import annotations

from typing import Annotated

import typer

from flows import cli_production, cli_products, cli_stack, cli_training, models
from flows.options import CheckpointName, Members, ProductName, Source
from flows.settings import Settings
from flows.terminal import console, state, told

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="Downscale coarse climate-model rain to ensembles of fine-grid rain video.\n\n"
    "Start with `stvd demo`; then `stvd info` lists the records you can use and `stvd products` "
    "what has been made. Every command has examples: `stvd backfill --help`.",
)
for part in (cli_stack, cli_training, cli_production, cli_products):
    app.add_typer(part.app)  # without a name: its commands are ours
app.add_typer(models.app, name="models")


@app.callback()
def main(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show Prefect's own log.")
    ] = False,
) -> None:
    state["verbose"] = verbose


@app.command()
def demo(
    source: Source = "gcm_demo",
    members: Members = 4,
    product: ProductName = None,
    checkpoint: CheckpointName = None,
) -> None:
    """Run the whole pipeline on a sample and show what it makes.

    Opens the record, checks it, samples an ensemble, commits it to a product, computes diagnostics
    and scores, and logs all to MLflow. A second run finds everything there.

    - `stvd demo`
    - `stvd demo --source radar_mch_20150515`
    - `stvd demo --source my_record.nc`
    """
    with told():
        from flows.demonstration import demonstration, show, standing

        how = demonstration(source, members, product, checkpoint)
        report = standing(how, Settings())
        again = report is not None
        if report is None:
            when = how.axis.period(how.source.info.frames)
            console.print(f"Downscaling {how.source.name}, {when}, with {how.checkpoint}")
            from flows.demo import demo as flow

            report = flow(source=source, members=members, product=product, checkpoint=checkpoint)
        show(report, again, console)


@app.command()
def info(
    source: Annotated[str | None, typer.Argument(help="One record, in full.")] = None,
    preset: Annotated[str | None, typer.Option(help="A size of the model, with its cost.")] = None,
    size: Annotated[
        tuple[int, int] | None, typer.Option(help="Fine cells, rows and columns, of --preset.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Of a window of --preset.")] = None,
    inputs: Annotated[int | None, typer.Option(min=1, help="Channels of --preset.")] = None,
    calls: Annotated[
        int | None, typer.Option(min=1, help="Of the denoiser in a sample of --preset.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print --preset as JSON.")] = False,
) -> None:
    """List the records that can be used, describe one, or say what a size of the model costs.

    - `stvd info`
    - `stvd info gcm_demo`
    - `stvd info --preset paper --json`
    - `stvd info --preset small --size 160 320 --inputs 2 --calls 10`
    """
    with told():
        if preset:
            if source:
                raise ValueError("info describes a record or a preset, not both")
            from flows.cost import as_json, cost, table

            found = cost(preset, inputs=inputs, frames=frames, size=size, calls=calls)
            if json:
                typer.echo(as_json(preset, found))
            else:
                console.print(table(preset, found))
            return
        if json or size or frames or inputs or calls:
            raise ValueError("--size, --frames, --inputs, --calls and --json go with --preset NAME")
        from flows import listing

        settings = Settings()
        console.print(listing.source(source, settings) if source else listing.sources(settings))
