"""The data that flows between stages. Start with `artifacts`."""
