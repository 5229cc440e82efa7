"""The bars of part 2/7, a module per group; `python -m bench.bars_scenes GROUP`."""
