"""LeRobot datasets and what lies beside them."""
