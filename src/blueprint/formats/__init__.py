"""One file per format, read and write. Units and axes convert here and nowhere else."""
