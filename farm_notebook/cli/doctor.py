"""``farm doctor``: every check, a line each, in the order in which one thing needs another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.console import Console
from rich.text import Text

from farm_notebook.cli import checks
from farm_notebook.cli.checks import Finding, Mark
from farm_notebook.cli.terminal import console
from farm_notebook.errors import FarmError
from farm_notebook.farm import Farm

__all__ = ["report"]

_SIGNS: dict[Mark, tuple[str, str, str]] = {  # in UTF-8, in anything else, and the colour
    "ok": ("✓", "+", "green"),
    "warning": ("!", "!", "yellow"),
    "failed": ("✗", "x", "bold red"),
}
WHAT_WIDTH = 14


def report(*, deep: bool) -> bool:
    """Run the checks and write a line for each finding to stdout, as it is found.

    Args:
        deep: Have the default model answer too, which fetches and loads it if need be.

    Returns:
        Whether nothing failed.
    """
    out = console()
    all_well = True
    for finding in _findings(deep=deep):
        _show(finding, out)
        all_well = all_well and finding.mark != "failed"
    return all_well


def _findings(*, deep: bool) -> Iterator[Finding]:
    yield from checks.packages()
    yield from _guarded("settings", checks.settings)
    try:
        farm = Farm()
    except FarmError as error:
        yield Finding("failed", "settings", str(error), "correct or unset it")
        return
    yield from _guarded("cache", lambda: checks.cache(farm))
    yield from _guarded("default model", lambda: checks.model(farm))
    yield from _guarded("providers", lambda: checks.providers(farm))
    if deep:
        yield from _guarded("answer", lambda: checks.answer(farm))


def _guarded(what: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The findings of a check; its failure is one more, so that the other checks still run."""
    try:
        yield from check()
    except (FarmError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        yield Finding("failed", what, str(error))


def _show(finding: Finding, out: Console) -> None:
    fancy, plain, style = _SIGNS[finding.mark]
    sign = fancy if out.encoding.startswith("utf") else plain
    line = Text.assemble((sign, style), f" {finding.what:<{WHAT_WIDTH}} {' '.join(finding.detail.split())}")
    if finding.fix:
        line.append(f"  fix: {finding.fix}", style="bold")
    out.print(line)
