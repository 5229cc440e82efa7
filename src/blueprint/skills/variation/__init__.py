"""How episodes differ from each other."""
