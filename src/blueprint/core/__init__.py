"""The engine: stages, receipts, settings, backends by name. Knows nothing of robots."""
