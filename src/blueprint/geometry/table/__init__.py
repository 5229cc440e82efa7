"""What the objects stand on."""
