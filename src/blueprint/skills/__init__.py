"""How a robot does a task: grasps, motion, primitives, goals."""
