"""Capture a real scene; get a simulator of it and certified robot training data."""

__version__ = "0.1.0"
