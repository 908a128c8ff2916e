"""Tests of the lives of real models: loaded, replaced, broken, killed and freed while they are in use."""
