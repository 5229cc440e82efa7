"""Implementations behind `protocols`, one file each, found by name."""
