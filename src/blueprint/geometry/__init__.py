"""Pure geometry on arrays and meshes."""
