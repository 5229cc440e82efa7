"""Where the cameras stood, and the depth that follows from it."""
