"""Commands about what is published: its diagnostics, its partitions, what is not believed."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.options import EventThreshold, Reference, RegionName, Regions
from flows.settings import Settings
from flows.terminal import console, told

app = typer.Typer()


@app.command()
def diagnose(
    product: Annotated[str, typer.Argument(help="Name or URI of a product, see `stvd products`.")],
    regions: Regions = None,
    region_name: RegionName = None,
    event_threshold: EventThreshold = None,
    event_amount: Annotated[
        float | None, typer.Option(help="mm of a day, whose return period is mapped.")
    ] = None,
    reference: Reference = None,
    reference_product: Annotated[
        str | None, typer.Option(help="Product with these years. [default: the product itself]")
    ] = None,
    evaluation: Annotated[
        str | None, typer.Option(help="File of `stvd evaluate --calls`, to show its curves.")
    ] = None,
) -> None:
    """Compute annual and extreme-event diagnostics of a product, and scores where there is truth.

    - `stvd diagnose gcm_demo`
    - `stvd diagnose gcm_demo --regions basins.geojson --event-threshold 5`
    - `stvd diagnose ssp585 --reference 1991-2020 --reference-product historical`
    """
    with told():
        from flows.diagnose import diagnose as flow

        report = flow(
            product=product,
            regions=regions,
            region_name=region_name,
            event_threshold=event_threshold,
            event_amount=event_amount,
            reference=reference,
            reference_product=reference_product,
            evaluation=evaluation,
        )
        for name, path in {**report.pages, **report.figures, **report.tables}.items():
            console.print(f"{name:<20}{path}", soft_wrap=True)


@app.command()
def products(
    name: Annotated[str | None, typer.Argument(help="One product, with its partitions.")] = None,
) -> None:
    """List the products that were made here, or the partitions of one.

    - `stvd products`
    - `stvd products gcm_demo`
    """
    with told():
        from flows import listing

        settings = Settings()
        table = listing.partitions(name, settings) if name else listing.products(settings)
        console.print(table)


@app.command()
def quarantine(
    product: Annotated[str, typer.Argument(help="Name or URI of a product.")],
    release: Annotated[
        str | None, typer.Option(help="Branch to publish in spite of its findings.")
    ] = None,
    drop: Annotated[str | None, typer.Option(help="Branch to let go of.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Release over what stands.")] = False,
) -> None:
    """List samples that were not believed and so not published; release or drop them.

    Look at them with `open_product(URI, snapshot=SNAPSHOT)`.

    - `stvd quarantine gcm_demo`
    - `stvd quarantine gcm_demo --drop quarantine.000000-000020_m000-004.0a1b2c3d4e5f`
    - `stvd quarantine gcm_demo --release quarantine.000000-000020_m000-004.0a1b2c3d4e5f`
    """
    with told():
        from flows import listing
        from stvd.product import quarantine as held

        settings = Settings()
        uri = settings.product_uri(product)
        if release and drop:
            raise ValueError("release a branch or drop it, not both")
        if release:
            done = held.release(uri, release, replace=replace, storage=settings.storage)
            console.print(f"{done.partition} is published in {uri}, snapshot {done.snapshot}")
        elif drop:
            held.drop(uri, drop, storage=settings.storage)
            console.print(f"{drop} is gone")
        else:
            console.print(listing.quarantined(product, settings))
