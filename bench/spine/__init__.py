"""One module per group of bars; each has `rows() -> Iterable[Row]`."""
