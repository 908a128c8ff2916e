"""The example package, installed as a user would install it, and found by its entry point."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from contract import Subject

from farm_notebook.config import load_config
from farm_notebook.providers import make_provider

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "farm-notebook-shout"


def install_example(folder: Path) -> None:
    """Build the example with pip and put it into a folder; its dependency, this project, is here already."""
    offline = ["--no-deps", "--no-index", "--no-build-isolation"]
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", str(folder), str(EXAMPLE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextmanager
def example(request: pytest.FixtureRequest) -> Iterator[Subject]:
    folder: Path = request.getfixturevalue("tmp_path_factory").mktemp("example")
    install_example(folder)
    config = load_config()
    sys.path.append(str(folder))
    try:
        provider = make_provider("shout", config)
        kind: Any = type(provider)

        async def is_working() -> bool:
            return bool(kind.shouting)

        yield Subject(
            make=lambda: kind(config),
            provider=provider,
            model="loud",
            questions=tuple((f"say {word}", word.upper()) for word in ("alpha", "beta", "gamma", "delta")),
            long=("loud", " ".join(f"word{number}" for number in range(50))),
            endless=("forever", "go on"),
            is_working=is_working,
            samples=False,
            loads=False,
            tells_logprobs=False,
        )
        assert kind.shouting == 0
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("farm_notebook_shout", None)
