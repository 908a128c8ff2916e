"""Tests of the room ``router``."""
