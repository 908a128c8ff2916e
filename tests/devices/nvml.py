"""NVIDIA's library as a double in C, which the real ``pynvml`` loads in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

__all__ = ["Ask", "ask_nvml", "build_nvml"]

SOURCE = Path(__file__).with_name("nvml_double.c")
PRELUDE = """
import dataclasses, json, os, sys
from farm_notebook.devices import device_problems, device_stats

def tell(value):
    print(json.dumps(value, default=dataclasses.asdict))

def gpus():
    return [each for each in device_stats() if each.kind == "cuda"]
"""

Ask: TypeAlias = Callable[..., Any]


def build_nvml(folder: Path) -> None:
    """Compile the double into a folder.

    Raises:
        LookupError: There is no compiler, or no Linux.
    """
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        raise LookupError("the double of NVML is compiled by a C compiler on Linux")
    library = folder / "libnvidia-ml.so.1"
    command = [compiler, "-shared", "-fPIC", "-O1", "-w", "-o", str(library), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture(scope="session")
def ask_nvml(tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """A function: run a program with the double and some variables, and give what it told last."""
    folder = tmp_path_factory.mktemp("nvml")
    try:
        build_nvml(folder)
    except LookupError as reason:
        pytest.skip(str(reason))

    def ask(program: str, **variables: object) -> Any:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CUDA_")}
        environment = kept | {name: str(value) for name, value in variables.items()}
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + program],
            env=environment | {"LD_LIBRARY_PATH": str(folder)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return ask
