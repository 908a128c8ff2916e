"""What ``%load_ext farm_notebook`` adds to a plain IPython shell: fresh process, warm file cache."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from statistics import median
from typing import Any

from benchmarks.children.shell import WATCHED
from benchmarks.measure import ROOT, Settings, clean_environment, interleaved, run_child, spread
from benchmarks.report import Row, Table

ROUNDS = 15
GOAL_MS = 60.0
SHOWN_IMPORTS = 12


def run(settings: Settings) -> Table:
    """Start shells with and without the extension, in turn."""
    rounds = settings.rounds or ROUNDS
    with clean_environment() as environment:

        def shell(*arguments: str) -> dict[str, Any]:
            begun = time.perf_counter()
            answer = run_child("shell", *arguments, environment=environment)
            return {**answer, "process_ms": (time.perf_counter() - begun) * 1e3}

        taken = interleaved(rounds, {"floor": shell, "load": lambda: shell("load")})
        notes = (_importtime(environment),) if settings.verbose else ()
    floor, load = taken["floor"], taken["load"]
    load_ms = [each["load_ms"] for each in load]
    floor_ms = [each["shell_ms"] for each in floor]
    added_ms = [
        with_["process_ms"] - without["process_ms"] for with_, without in zip(load, floor, strict=True)
    ]
    watched = sorted({name for each in load for name in each["watched"]})
    shell_too = sorted({name for each in floor for name in each["watched"]})
    rows = (
        Row(
            "`%load_ext farm_notebook`",
            spread(load_ms, "ms", 1),
            f"making the shell: {median(floor_ms):.0f} ms",
            median(load_ms) / median(floor_ms),
            f"≤ {GOAL_MS:g} ms",
            median(load_ms) <= GOAL_MS,
        ),
        Row(
            "added to the whole process, exit included",
            spread(added_ms, "ms", 1),
            f"process with a shell: {median(each['process_ms'] for each in floor):.0f} ms",
            median(added_ms) / median(each["process_ms"] for each in floor),
            f"≤ {GOAL_MS:g} ms",
            median(added_ms) <= GOAL_MS,
        ),
        Row(
            f"loaded of {', '.join(WATCHED)}",
            ", ".join(watched) or "none",
            f"shell alone: {', '.join(shell_too) or 'none'}",
            goal="none",
            met=not watched,
        ),
        Row("modules imported", f"{median(each['modules'] for each in load):.0f}"),
    )
    title = f"Fresh processes, warm file cache; medians of {rounds} (least to greatest)."
    return Table("load_ext", title, rows, notes)


def _importtime(environment: dict[str, str]) -> str:
    """The modules that cost most by themselves, as ``-X importtime`` counts them."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "benchmarks.children.shell", "load"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    report = done.stderr.partition("farm: loading\n")[2].splitlines()
    fields = [line.removeprefix("import time:").split("|") for line in report if "|" in line]
    costs = sorted(((int(own) / 1e3, name.strip()) for own, _, name in fields), reverse=True)
    listed = ", ".join(f"{name} {own_ms:.1f}" for own_ms, name in costs[:SHOWN_IMPORTS])
    all_ms = sum(own_ms for own_ms, _ in costs)
    return f"Own import time in ms, the profiler's part included: {listed}; all: {all_ms:.1f}."
