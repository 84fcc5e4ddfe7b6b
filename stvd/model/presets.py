"""Named sizes of the model."""

from __future__ import annotations

from dataclasses import dataclass

from stvd.model.stvd import ModelConfig
from stvd.model.unet import UNetConfig


@dataclass(frozen=True, kw_only=True)
class Preset:
    """An architecture, and what it was published or is shipped for.

    Parameters
    ----------
    mean, denoiser, interpolation_skip : of `ModelConfig`
    inputs, window : the usual ones
    size : rows and columns of the fine grid that it usually serves
    fixed : which of `inputs` and `window` belong to the preset, so that others are refused
    """

    mean: UNetConfig
    denoiser: UNetConfig
    interpolation_skip: bool = True
    inputs: int
    window: int = 5
    size: tuple[int, int]
    fixed: frozenset[str] = frozenset()


_TINY = UNetConfig(width=8, multipliers=(1, 2), blocks=1, head_width=8, temporal_levels=(1,))
# Temporal attention on the finest level too, so that small showers are followed in time.
_SMALL_LEVELS = (0, 1, 2)
_SMALL = ModelConfig(
    inputs=15,
    mean=UNetConfig(width=24, temporal_side="encoder", temporal_levels=_SMALL_LEVELS),
    denoiser=UNetConfig(width=32, temporal_side="decoder", temporal_levels=_SMALL_LEVELS),
)
_PAPER = UNetConfig(
    layout="published",
    width=64,
    multipliers=(1, 1, 2, 2, 3, 4),
    patch=1,
    stem=7,
    heads=4,
    head_width=32,
    linear_levels=(0, 1, 2, 3, 4, 5),
    temporal_levels=(1, 2, 3, 4, 5),
    temporal_side="encoder",
    bottleneck_attention=True,
    ordered_frames=False,
)


def _published(*, inputs: int = 12, window: int = 5, fixed: frozenset[str] = frozenset()) -> Preset:
    return Preset(
        mean=_PAPER,
        denoiser=_PAPER.model_copy(update={"temporal_side": "decoder"}),
        interpolation_skip=False,
        inputs=inputs,
        window=window,
        size=(384, 384),
        fixed=fixed,
    )


PRESETS: dict[str, Preset] = {
    "tiny": Preset(mean=_TINY, denoiser=_TINY, inputs=15, size=(160, 320)),
    "small": Preset(mean=_SMALL.mean, denoiser=_SMALL.denoiser, inputs=15, size=(160, 320)),
    "paper": _published(),
    "stvd-single": _published(inputs=1, fixed=frozenset({"inputs"})),
    "stvd-3": _published(window=3, fixed=frozenset({"window"})),
    "stvd-1": _published(window=1, fixed=frozenset({"window"})),
}


def preset(
    name: str,
    inputs: int | None = None,
    window: int | None = None,
    *,
    temporal_levels: tuple[int, ...] | None = None,
    norm: str | None = None,
) -> ModelConfig:
    """The configuration called `name` for `inputs` conditioning channels and `window` frames.

    `paper` is the published configuration; `stvd-single` (precipitation alone, neither other channels
    nor orography), `stvd-3` and `stvd-1` (3 and 1 frames) are its ablations. `small` is the size of the
    checkpoints that come with the project; `tiny` is for tests. Ablations of another size are that
    size with one input, or with another window.

    Parameters
    ----------
    name : a key of `PRESETS`
    inputs, window : None for the preset's own
    temporal_levels : of both networks, where frames attend to one another, 0 = finest; None for the
        preset's own
    norm : of both networks, `group` or `channel` (`UNetConfig`); None for the preset's own

    Raises
    ------
    ValueError
        If there is no such preset, or if it is an ablation that has other inputs or another window.
    """
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    chosen = PRESETS[name]
    given = {"inputs": inputs, "window": window}
    for key in sorted(chosen.fixed):
        own = getattr(chosen, key)
        if given[key] not in (None, own):
            raise ValueError(
                f"preset {name} has {key} = {own}, not {given[key]}: give it {own}, or use preset paper"
            )
    asked = {"temporal_levels": temporal_levels, "norm": norm}
    changes = {key: value for key, value in asked.items() if value is not None}
    return ModelConfig(
        inputs=chosen.inputs if inputs is None else inputs,
        window=chosen.window if window is None else window,
        mean=UNetConfig.model_validate(chosen.mean.model_dump() | changes),
        denoiser=UNetConfig.model_validate(chosen.denoiser.model_dump() | changes),
        interpolation_skip=chosen.interpolation_skip,
    )
