"""Fixtures that the tests of devices share."""

from __future__ import annotations

from nvml import ask_nvml

__all__ = ["ask_nvml"]
