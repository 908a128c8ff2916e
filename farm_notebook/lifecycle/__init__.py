"""Models while they are loaded: their states, how they come and go, and what keeps their memory."""
