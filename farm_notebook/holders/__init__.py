"""What keeps the memory of models that were given up: who holds them, and how that is written in Python."""
