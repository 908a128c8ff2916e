"""Tests of the panels' side in the kernel."""
