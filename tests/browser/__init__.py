"""Tests that drive a real JupyterLab in headless Chromium, as a person would."""
