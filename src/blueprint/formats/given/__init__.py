"""Scenes that somebody else modelled or reconstructed."""
