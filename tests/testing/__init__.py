"""Tests of what tests are given."""
