"""Units by xclim and pint, in which a depth of water is a mass per area (1 mm is 1 kg m-2)."""

from __future__ import annotations

import xarray as xr


def is_unit(text: str) -> bool:
    """Whether a text names units; `(0 - 1)` and the empty text do not."""
    return bool(text) and same(text, text)


def same(one: str, other: str) -> bool:
    """Whether two texts name the same units; false if one of them names none."""
    from xclim.core.units import units2pint  # seconds to import, and seldom needed

    try:
        return bool(units2pint(one) == units2pint(other))
    except Exception:  # pint has no common error for texts that are no units
        return False


def convert(field: xr.DataArray, units: str, wanted: str) -> tuple[xr.DataArray, str]:
    """Convert values lazily, or leave them where the units say something else.

    Parameters
    ----------
    field : DataArray, in `units`
    units, wanted : texts such as `mm day-1`, `kg m**-2 s**-1` or `%`

    Returns
    -------
    the values and their units: `wanted`, or `units` if these cannot be converted
    """
    from xclim.core.units import convert_units_to  # seconds to import, and seldom needed

    try:
        converted = convert_units_to(field.assign_attrs(units=units), wanted, context="hydro")
    except Exception:  # pint has no common error for units that do not convert
        return field, units
    return converted, wanted
