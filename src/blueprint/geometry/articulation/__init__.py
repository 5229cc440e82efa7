"""What opens, and on which joint."""
