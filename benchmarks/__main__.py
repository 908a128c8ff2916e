"""``python -m benchmarks [NAME ...]``: run benchmarks, print their tables, keep them with ``--write``."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from benchmarks.measure import Settings
from benchmarks.report import RESULTS, Table, machine, write_results

NAMES = (
    "load_ext",
    "first_token",
    "overhead",
    "peers",
    "cache",
    "pipeline",
    "iopub",
    "huggingface",
    "heartbeat",
    "devices",
    "models",
    "replay",
    "chat_panel",
)


def main() -> None:
    """Run what was named, or everything."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; none is all")
    parser.add_argument("--rounds", type=int, help="how often everything is measured")
    parser.add_argument("--verbose", action="store_true", help="also show where the time goes")
    parser.add_argument("--write", action="store_true", help=f"keep the tables in {RESULTS.name}")
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.names) - set(NAMES)):
        parser.error(f"no benchmark is called {unknown[0]!r}; valid: {', '.join(NAMES)}")
    os.environ.setdefault("FARM_CACHE__ENABLED", "false")  # they ask the same again and again
    os.environ.setdefault("FARM_HISTORY__ENABLED", "false")
    settings = Settings(rounds=arguments.rounds, verbose=arguments.verbose)
    tables: list[Table] = []
    for name in arguments.names or NAMES:
        print(f"{name} …", file=sys.stderr, flush=True)
        tables.append(import_module(f"benchmarks.{name}").run(settings))
        if arguments.write:
            write_results(tables[-1:])
    print(machine())
    for table in tables:
        print(f"\n## {table.name}\n\n{table.markdown()}")


if __name__ == "__main__":
    main()
