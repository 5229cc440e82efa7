"""The raster renderer's parts, and looks."""
