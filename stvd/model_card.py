"""A checkpoint in Markdown, for people who choose among several."""

from __future__ import annotations

from stvd.checkpoint import Card


def model_card(
    card: Card, description: str = "", validation: tuple[str, ...] = (), *, text: str = ""
) -> str:
    """What a model is, was trained on and serves, as far as its own card tells.

    Parameters
    ----------
    description : what it is for, in a sentence
    validation : records that were held out
    text : what its authors wrote of it, in Markdown; it comes first
    """
    channels, grid, training = card.channels, card.grid, card.training
    parameters = training.get("parameters", {})
    settings = training.get("config", {})
    inputs = [*channels.variables, *channels.statics]
    inputs += [name for name in ("mask", "roughness", "texture") if getattr(channels, name)]
    rows = {
        "what for": description,
        "inputs": ", ".join(inputs),
        "frames sampled jointly": card.model.window,
        "sampled with": f"{card.sampler.solver}, {card.sampler.steps} calls"
        + (", and in no other way" if card.distilled else ""),
        "fine cells a coarse cell": grid.factor,
        "serves steps of": _span(grid.step_seconds, "s"),
        "serves spacings of": _span(grid.spacing_km, "km"),
        "parameters": f"{sum(parameters.values()):,}" if parameters else "",
        "trained on": ", ".join(training.get("events", ())),
        "held out": ", ".join(validation),
        "steps, batch, crop": ", ".join(
            str(settings[k]) for k in ("steps", "batch", "crop") if k in settings
        ),
        "trained with": ", ".join(
            f"{k} {training[k]}" for k in ("torch", "device") if k in training
        ),
        "digest": f"`{card.digest}`",
    }
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items() if value != "")
    head = text.rstrip() or f"# {card.name}"
    return f"{head}\n\n| | |\n| --- | --- |\n{table}\n"


def _span(values: tuple[float, float], units: str) -> str:
    low, high = (f"{v:,d}" if isinstance(v, int) else f"{v:.4g}" for v in values)
    return f"{low} {units}" if low == high else f"{low} to {high} {units}"
