"""Measurements: bars of the issues and performance beside peers. Apart from the tests; nothing here is timed in CI."""
