"""A small general circulation model as a source of data: SPEEDY physics in the package `jcm`.

The model starts from rest at T31, where it is stable and nearly free, and is then interpolated to
the wanted truncation. `jcm` and JAX are imported only when a model is built, so that this module
imports without the extra `jcm`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from stvd.terrain import terrain_on_grid

Array = NDArray[np.floating[Any]]

TIME_STEP_MINUTES: Mapping[int, int] = {31: 15, 63: 20, 106: 12}
STEP_SECONDS = 10800
FRAMES_PER_DAY = 86400 // STEP_SECONDS
LAPSE_RATE = 0.0065  # K m-1
DRY_AIR = 287.0  # J kg-1 K-1
GRAVITY = 9.80665  # m s-2
REFERENCE_PRESSURE = 1.0e5  # Pa, the unit of jcm's `normalized_surface_pressure`
PERTURBATION = 0.5  # K, of the initial temperature
LEVELS: Mapping[str, float] = {"850": 0.835, "500": 0.510, "200": 0.200}  # sigma


class UnstableRun(RuntimeError):
    """The simulation left the physical range."""


def require_jcm() -> ModuleType:
    """Import `jcm`, or say how to install it."""
    try:
        import hydra  # noqa: F401
        import jcm
    except ImportError as error:
        raise ImportError(
            "Simulating needs the climate model jcm (1.6 GB with JAX), which is an extra: "
            'pip install "stvd[jcm]".'
        ) from error
    module: ModuleType = jcm
    return module


def grid_of(coords: Any) -> tuple[Array, Array]:
    """Latitudes and longitudes of a `jcm` coordinate system, degrees."""
    horizontal = coords.horizontal
    return np.degrees(np.asarray(horizontal.latitudes)), np.degrees(
        np.asarray(horizontal.longitudes)
    )


@dataclass(frozen=True, kw_only=True)
class Gcm:
    """A built model with its forcing; `model` carries the evolving state.

    `orog` (m) and `land_fraction` are as read, before the model truncates and rounds them,
    shape (lat, lon).
    """

    model: Any
    forcing: Any
    orog: Array
    land_fraction: Array

    @property
    def grid(self) -> tuple[Array, Array]:
        return grid_of(self.model.coords)


def build(truncation: int, start: datetime, terrain: Path | None = None) -> Gcm:
    """Build the model at a truncation with climatological sea surface and real orography.

    Parameters
    ----------
    truncation : spectral truncation, a key of `TIME_STEP_MINUTES`
    start : the model's first instant
    terrain : see `stvd.terrain.terrain_on_grid`; left out, the T63 orography packaged with `jcm`

    Raises
    ------
    ImportError
        If the extra `jcm` is not installed.
    """
    jcm = require_jcm()
    from hydra import compose, initialize_config_dir
    from jcm import runners

    package = Path(str(jcm.__file__)).parent
    boundary = package / "data" / "bc" / "t63"
    overrides = [
        "physics=speedy",
        "grid=speedy_t31_l8",
        f"grid.spectral_truncation={truncation}",
        "terrain=from_file",
        f"terrain.file={boundary / 'terrain.nc'}",
        "terrain.interpolate=true",
        "forcing=from_file",
        f"forcing.file={boundary / 'forcing.nc'}",
        "forcing.align=wrap_year",
        "forcing.ozone_file=analytic",
        f"run.time_step={TIME_STEP_MINUTES[truncation]}",
        f"run.start_time={start:%Y-%m-%d}",
    ]
    with (
        tempfile.TemporaryDirectory() as scratch,
        initialize_config_dir(version_base=None, config_dir=str(package / "config")),
    ):
        config = compose("config", overrides)
        surface = None
        if terrain is not None:
            surface = terrain_on_grid(terrain, *grid_of(runners.build_coords(config)))
            config.terrain.file = os.path.join(scratch, "terrain.nc")
            surface.to_netcdf(config.terrain.file)
        model = runners.build_model(config)
        forcing = runners.build_forcing(config, model.coords)
    return Gcm(
        model=model,
        forcing=forcing,
        orog=np.asarray(model.terrain.orog if surface is None else surface.orog).T,
        land_fraction=np.asarray(model.terrain.fmask if surface is None else surface.lsm).T,
    )


def perturbation(member: int, shape: tuple[int, ...]) -> Array:
    """Gaussian temperature noise (K) of a member: a counter-based function of `member` alone."""
    generator = np.random.Generator(np.random.Philox(key=member))
    return (PERTURBATION * generator.standard_normal(shape)).astype(np.float32)


def spin_up(gcm: Gcm, days: int, member: int) -> None:
    """Run from a perturbed state of rest for whole `days`."""
    rest = gcm.model.dycore.to_physics_state(gcm.model.initial_state())
    noise = perturbation(member, rest.temperature.shape)
    perturbed = rest.copy(temperature=rest.temperature + noise)
    span = float(days)
    gcm.model.run(initial_state=perturbed, forcing=gcm.forcing, save_interval=span, total_time=span)


def transfer(source: Gcm, target: Gcm) -> None:
    """Start `target` from the state of `source`, moved onto the target's finer orography.

    The spectra are padded with zeros; then, with Δφ the drop of the surface geopotential,

        ps ← ps exp(Δφ / (R T_s)),    T ← T + Γ σ Δφ / g.
    """
    from dinosaur.coordinate_systems import get_spectral_interpolate_fn

    finer = get_spectral_interpolate_fn(source.model.coords, target.model.coords)
    state = target.model.dycore.to_physics_state(finer(source.model.dycore_state))
    coarse_surface = source.model.coords.horizontal.to_modal(source.model.terrain.phis0)[None]
    surface = target.model.coords.horizontal.to_nodal(finer(coarse_surface))[0]
    drop = surface - target.model.terrain.phis0
    sigma = np.asarray(target.model.coords.vertical.centers)[:, None, None]
    pressure = state.normalized_surface_pressure
    lift = np.exp(np.asarray(drop / (DRY_AIR * state.temperature[-1])))
    target.model.bootstrap_state(
        state.copy(
            normalized_surface_pressure=pressure * lift,
            temperature=state.temperature + LAPSE_RATE * sigma * drop / GRAVITY,
        )
    )


def save_state(gcm: Gcm, path: Path) -> None:
    """Save the model's whole state; an older file is replaced at once."""
    from jcm.checkpoint import save_checkpoint

    save_checkpoint(gcm.model, path)


def load_state(gcm: Gcm, path: Path) -> int:
    """Restore a saved state; returns the whole days the model has run since its first instant."""
    from jcm.checkpoint import load_checkpoint

    gcm.model.bootstrap_state()
    elapsed: float = load_checkpoint(gcm.model, path)
    return round(elapsed)


def run_day(gcm: Gcm) -> xr.Dataset:
    """Advance one day and return its 3-hourly means on the model grid.

    Returns
    -------
    Dataset, 8 frames, dims (time, lat, lon), float32: `pr` (kg m-2 s-1), `ps` (Pa), `prw`
    (kg m-2), `tas` (K), `uas`, `vas` (m s-1), and `ua`, `va` (m s-1), `ta` (K), `hus` (1), `zg`
    (m2 s-2) on the levels of `LEVELS`; `time` is the middle of the step

    Raises
    ------
    UnstableRun
        If a value is not finite.
    """
    raw = gcm.model.resume(
        forcing=gcm.forcing,
        save_interval=1.0 / FRAMES_PER_DAY,
        total_time=1.0,
        output_averages=True,
    ).to_xarray()
    thickness = np.diff(np.asarray(gcm.model.coords.vertical.boundaries))
    centres = np.asarray(gcm.model.coords.vertical.centers)
    day = day_fields(raw, xr.DataArray(thickness, {"level": centres}, ["level"]))
    wrong = [str(name) for name in day if not np.isfinite(day[name].values).all()]
    if wrong:
        raise UnstableRun(
            f"{', '.join(wrong)} of {str(day.time.values[0])[:10]} is not finite: the model became "
            "unstable. Lengthen spinup_days or adjust_days, or choose another member."
        )
    return day


def day_fields(raw: xr.Dataset, thickness: xr.DataArray) -> xr.Dataset:
    """Name and scale the output of `jcm` in the words of CMIP.

    Parameters
    ----------
    raw : output of `jcm`, dims (time, level, lon, lat), `level` being sigma
    thickness : shape (level,), share of the surface pressure in each layer

    Returns
    -------
    see `run_day`
    """
    thickness = thickness.sel(level=raw.level, method="nearest").assign_coords(level=raw.level)
    pressure = raw["normalized_surface_pressure"] * REFERENCE_PRESSURE
    fields = {
        "pr": raw["surface_exchange.precipitation"].clip(min=0.0),
        "ps": pressure,
        "prw": (raw["specific_humidity"] * thickness).sum("level") * pressure / GRAVITY,
        "tas": raw["surface_flux.t0"],
        "uas": raw["surface_flux.u0"],
        "vas": raw["surface_flux.v0"],
    }
    profiles = {"ua": "u_wind", "va": "v_wind", "ta": "temperature"}
    profiles |= {"hus": "specific_humidity", "zg": "geopotential"}
    for label, sigma in LEVELS.items():
        for name, variable in profiles.items():
            fields[name + label] = raw[variable].sel(level=sigma, method="nearest", drop=True)
    day = xr.Dataset({name: field.drop_attrs() for name, field in fields.items()})
    return day.transpose("time", "lat", "lon").astype(np.float32).load()
