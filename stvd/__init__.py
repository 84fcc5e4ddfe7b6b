"""Downscale coarse climate-model precipitation to an ensemble of fine-grid rain video."""
