"""How the benchmarks take their figures: child processes that answer in JSON, interleaved rounds, medians."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias, TypeVar

__all__ = [
    "ROOT",
    "Once",
    "Settings",
    "Taken",
    "clean_environment",
    "interleaved",
    "run_child",
    "spread",
    "timed_calls",
]

ROOT = Path(__file__).resolve().parent.parent
CHILD_TIMEOUT_S = 300

T = TypeVar("T")
Once: TypeAlias = Callable[[], Awaitable[object]]
Taken: TypeAlias = dict[str, list[float]]  # microseconds, by case


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line asked for.

    Args:
        rounds: How often everything is measured; ``None`` leaves it to the benchmark.
        verbose: Whether to look into where the time goes, too.
    """

    rounds: int | None = None
    verbose: bool = False


def interleaved(
    rounds: int, cases: Mapping[str, Callable[[], T]], *, warm_up: bool = True
) -> dict[str, list[T]]:
    """Measure the cases in turn, round after round and every other round backwards, so that all of them see
    the same weather.

    Args:
        rounds: How often each case is measured.
        cases: What to measure, by name.
        warm_up: Whether each case is run once before, unmeasured.
    """
    if warm_up:
        for case in cases.values():
            case()
    taken: dict[str, list[T]] = {name: [] for name in cases}
    for number in range(rounds):
        for name in list(cases)[:: -1 if number % 2 else 1]:
            taken[name].append(cases[name]())
    return taken


async def timed_calls(rounds: int, count: int, cases: Mapping[str, Once]) -> Taken:
    """The microseconds of each of ``count`` calls a round; the cases in turn, every other round backwards."""
    taken: Taken = {name: [] for name in cases}
    for number in range(rounds + 1):
        for name in list(cases)[:: -1 if number % 2 else 1]:
            once = cases[name]
            for _ in range(count):
                began = time.perf_counter()
                await once()
                took_us = (time.perf_counter() - began) * 1e6
                if number:  # the first round warms up
                    taken[name].append(took_us)
    return taken


def spread(values: list[float], unit: str, digits: int = 0) -> str:
    """The median, with the least and the greatest value behind it."""
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), median(values), max(values)))
    return f"{middle} {unit} ({low} to {high})"


def run_child(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Run a module of ``benchmarks.children`` in a fresh process; its last line of output is a JSON object.

    Raises:
        RuntimeError: The process failed; with what it wrote.
    """
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.children.{module}", *arguments],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=CHILD_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"benchmarks.children.{module} failed:\n{done.stderr[-2000:]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@contextmanager
def clean_environment() -> Iterator[dict[str, str]]:
    """Variables for a process that finds no profile, history or kernels but what the benchmark gives it."""
    with TemporaryDirectory() as folder:
        yield {"IPYTHONDIR": folder, "JUPYTER_RUNTIME_DIR": folder, "PYTHONPATH": str(ROOT)}
