"""The bars of part 4/7, a module per group; `python -m bench.bars_trust GROUP`."""
