"""Puts this folder on the import path: tests share `toys`, `toy_episodes` and `toy_whole`."""
