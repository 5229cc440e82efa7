"""One file per stage, named for what it makes."""
