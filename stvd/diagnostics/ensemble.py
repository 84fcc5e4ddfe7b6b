"""What an ensemble says: mean, spread, quantiles and area means beside the quantities of members."""

from __future__ import annotations

import numpy as np
import xarray as xr

QUANTILES = (0.1, 0.5, 0.9)


def area_mean(field: xr.DataArray, area: xr.DataArray) -> xr.DataArray:
    """Area-weighted mean over the cells that have a value (`sdii` has none where it never rained).

    Parameters
    ----------
    field : DataArray, shape (..., [tile,] y, x)
    area : DataArray, shape ([tile,] y, x), m2

    Returns
    -------
    DataArray, shape (...), the units of `field`
    """
    dims = [d for d in ("tile", "y", "x") if d in field.dims]
    weights = area.reset_coords(drop=True)
    return field.weighted(weights).mean(dims).assign_attrs(field.attrs)


def with_ensemble(table: xr.Dataset, area: xr.DataArray | None) -> xr.Dataset:
    """Add to every quantity `q` its `q_mean`, `q_std`, `q_quantile` and `q_area`.

    Parameters
    ----------
    table : quantities of shape (time, ..., member, [tile,] y, x) with CF attributes
    area : DataArray, shape ([tile,] y, x), m2; None leaves `q_area` out

    Returns
    -------
    Dataset; of a single member there is no spread and no quantile
    """
    names = [str(n) for n in table.data_vars]
    times = range(table.sizes["time"])  # one time at once, for copies of all would fill memory
    bare = table.drop_vars(list(table.coords))
    parts = [_statistics(bare.isel(time=[k]), names, area) for k in times]
    added = xr.concat(parts, "time", data_vars="all", combine_attrs="override")
    made = table.assign_coords(added.coords).assign(added.data_vars)
    if "quantile" in made.coords:
        made["quantile"].attrs = {"long_name": "quantile of the members", "units": "1"}
    return made


def _statistics(table: xr.Dataset, names: list[str], area: xr.DataArray | None) -> xr.Dataset:
    found: dict[str, xr.DataArray] = {}
    for name in names:
        field, attrs = table[name], table[name].attrs
        said, methods = attrs["long_name"], attrs.get("cell_methods", "")
        found[f"{name}_mean"] = field.mean("member").assign_attrs(
            attrs,
            long_name=f"ensemble mean of the {said}",
            cell_methods=f"{methods} realization: mean".strip(),
        )
        if field.sizes["member"] > 1:
            found[f"{name}_std"] = field.std("member", ddof=1).assign_attrs(
                attrs,
                long_name=f"ensemble spread of the {said}",
                cell_methods=f"{methods} realization: standard_deviation".strip(),
            )
            # skipna would send every cell through numpy's slow nanquantile, one by one.
            found[f"{name}_quantile"] = (
                field.quantile(QUANTILES, "member", skipna=False)
                .astype(field.dtype)
                .assign_attrs(attrs, long_name=f"ensemble quantile of the {said}")
            )
        if area is not None:
            found[f"{name}_area"] = area_mean(field.astype(np.float64), area).assign_attrs(
                attrs, long_name=f"area mean of the {said}"
            )
    return xr.Dataset(found)
