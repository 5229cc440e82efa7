"""How a gripper takes hold of an object."""
