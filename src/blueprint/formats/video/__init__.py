"""Videos: colour, depth and labels."""
