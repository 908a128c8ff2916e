"""Tests of the catalogue, of digests, and of fetching a model's file."""
