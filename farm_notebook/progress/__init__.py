"""What is waited for until an answer begins or a model is loaded, in words; for cells and panels alike."""

from __future__ import annotations

from farm_notebook.progress.answers import Progress
from farm_notebook.progress.loads import LoadSteps

__all__ = ["LoadSteps", "Progress"]
