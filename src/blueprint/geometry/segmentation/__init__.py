"""What separates the objects of a picture."""
