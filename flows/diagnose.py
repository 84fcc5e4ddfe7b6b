"""Tables of years and extremes, scores and figures of a product."""

from __future__ import annotations

import logging

from prefect import flow

from flows.parameters import Amount, Years, find_source
from flows.settings import Settings
from stvd.product import Product
from stvd.report import Report, Wanted
from stvd.source import Source
from tasks.diagnosis import publish, report

log = logging.getLogger("stvd.diagnose")


@flow(name="diagnose", flow_run_name="{product}")
def diagnose(
    product: str,
    source: str | None = None,
    regions: str | None = None,
    region_name: str | None = None,
    event_threshold: Amount | None = None,
    event_amount: Amount | None = None,
    reference: Years | None = None,
    reference_product: str | None = None,
    evaluation: str | None = None,
) -> Report:
    """Compute the annual and extreme-event diagnostics of what a product holds, and its scores.

    What was computed of the same snapshot and for the same wishes stands and is not computed again.

    Args:
        product: Name or URI of the product.
        source: Its coarse record, for the input and the truth. Left empty, the product says which.
        regions: Path of a GeoJSON file or shapefile with regions, whose means are wanted too.
        region_name: Property of its features that names them. Left empty, the usual ones.
        event_threshold: In mm per hour of a step; the largest events above it are listed.
        event_amount: In mm of a day; its return period is mapped.
        reference: Years such as 1991-2020, against which change and very wet days are counted.
        reference_product: Diagnosed product that has these years. Left empty, the product itself.
        evaluation: Path of a file of stvd evaluate --calls, whose curves are shown.
    """
    settings = Settings()
    uri = settings.product_uri(product)
    made = report(
        uri,
        _source(uri, source, settings),
        str(settings.report_folder(uri)),
        settings.storage,
        Wanted(
            regions=regions,
            region_name=region_name,
            event_threshold=event_threshold,
            event_amount=event_amount,
            reference=reference,
            reference_product=reference_product and settings.product_uri(reference_product),
            evaluation=evaluation,
        ),
    )
    publish(made)
    return made


def _source(uri: str, reference: str | None, settings: Settings) -> Source | None:
    """The record behind a product; None, and a warning, where no catalog has it any more."""
    if reference is not None:
        return find_source(reference, settings)
    name = Product.open(uri, storage=settings.storage).spec.source
    try:
        return find_source(name, settings)
    except ValueError:
        log.warning("no catalog here has %s: no input, truth or scores in the report", name)
        return None
