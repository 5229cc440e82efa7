"""Robots: sheets, files, trials."""
