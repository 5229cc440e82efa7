"""What was not seen of an object."""
