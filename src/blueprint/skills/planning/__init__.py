"""Where the arm may be, and how it gets there."""
