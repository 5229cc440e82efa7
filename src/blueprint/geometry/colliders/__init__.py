"""Convex pieces that stand for a solid in physics."""
