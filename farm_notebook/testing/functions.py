"""A plain test whose calls come from a cassette or from a script, whichever farm makes them."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from farm_notebook import loop
from farm_notebook.cassettes import SUFFIX, CassetteFile, default_path, rewind
from farm_notebook.cassettes.checking import unasked_in
from farm_notebook.cassettes.shared import never_asked
from farm_notebook.config.variables import BLOCK_REQUESTS
from farm_notebook.errors import InvalidRequestError
from farm_notebook.farm import AsyncFarm, Farm, default_farm
from farm_notebook.testing.blocking import REAL
from farm_notebook.testing.environment import cassette_variables, environment
from farm_notebook.testing.plugin import Mode
from farm_notebook.testing.scripted import ScriptedFarm

__all__ = ["cassette_of", "on_cassette", "on_script"]


@contextmanager
def on_cassette(item: pytest.Item, mode: Mode) -> Iterator[tuple[Farm, Callable[[], None]]]:
    """The default farm on the cassette of a test, and what fails where some of it was never asked for.

    Args:
        item: The test.
        mode: What is done with its calls.
    """
    path = cassette_of(item)
    command = f"pytest --farm-record {shlex.quote(item.nodeid)}"

    def check() -> None:
        if unasked := unasked_in(CassetteFile(path), asked):
            fix = f"Delete the file, and `{command}` records it anew."
            pytest.fail(str(never_asked(path, unasked, fix)), pytrace=False)

    with tempfile.TemporaryDirectory(prefix="farm-asked-") as folder:
        asked = Path(folder, "asked")
        with environment(cassette_variables(mode, path, asked_file=asked, record_command=command)):
            rewind(path)
            if mode != "replay":
                path.parent.mkdir(parents=True, exist_ok=True)
            core = AsyncFarm()
            with _as_default(core) as farm:
                yield farm, check
            if mode != "replay" and (cassette := core.tape.cassette) is not None:
                loop.run_blocking(cassette.save())  # what a test left is written in the background
            rewind(path)


@contextmanager
def on_script(item: pytest.Item) -> Iterator[ScriptedFarm]:
    """A farm that waits for the answers that a test says, and stands behind the default one.

    Args:
        item: The test.
    """
    is_blocked = item.get_closest_marker(REAL) is None
    with environment({BLOCK_REQUESTS: "1"} if is_blocked else {}):
        farm = ScriptedFarm()
        with _as_default(farm.core):
            yield farm


def cassette_of(item: pytest.Item) -> Path:
    """The file that a test's mark names, else one beside the test's file that is called as both.

    Raises:
        InvalidRequestError: The mark names none.
    """
    if (mark := item.get_closest_marker("farm_cassette")) is None:
        name = re.sub(r"[^\w.-]+", "-", item.nodeid.partition("::")[2].replace("::", "."))
        return item.path.with_name(f"{item.path.stem}.{name.strip('-')}{SUFFIX}")
    if len(mark.args) != 1 or mark.kwargs:
        raise InvalidRequestError('Write the mark as @pytest.mark.farm_cassette("story.farm.jsonl").')
    path = (item.path.parent / mark.args[0]).resolve()
    return default_path(path) if path.suffix == ".ipynb" else path


@contextmanager
def _as_default(core: AsyncFarm) -> Iterator[Farm]:
    """Have the default farm be another one, also for those who have it already."""
    farm = default_farm()
    before, farm.core = farm.core, core
    try:
        yield farm
    finally:
        farm.core = before
        loop.run_blocking(core.let_go(before))
