"""Models while they are loaded: their states, and how they come, are replaced, and go."""
