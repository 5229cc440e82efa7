"""Servers: episodes for trainers, reconstructors for other machines."""
