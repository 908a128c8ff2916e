"""Runs the blocks of a page, each by its language, and says what is wrong with one."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

from blocks import Block
from saved import check_saved, commands_in
from stage import Stage

__all__ = ["Runner"]

WAIT_S = 120  # far beyond what a block takes; a test fails by it, none passes by it
COLOUR = re.compile(r"\x1b\[[\d;]*m")
TRAP = "set -euo pipefail; trap 'echo \"line $LINENO: $BASH_COMMAND\" >&2' ERR; "


class Runner:
    """The blocks of one page, in their order.

    Args:
        stage: What they are run in.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._shown = ""  # by the block before

    def run(self, block: Block) -> None:
        """Run a block, as its notes and its language say.

        Raises:
            AssertionError: It does not do what it should; says what it shows or raises instead.
        """
        assert not block.problem, block.problem
        run = LANGUAGES.get(block.language)
        assert run, f"no language {block.language!r}; valid: {', '.join(LANGUAGES)}"
        if "skip" in block.notes:
            return
        if "before" in block.notes:
            self._stage.prepare(block.notes["before"])
        if "fails" in block.notes:
            self._stage.shell.error(block.notes["fails"])
        if "file" in block.notes:
            self._save(block)
        else:
            run(self, block)

    def cells(self, block: Block) -> None:
        """Run it as cells of a notebook. Where a cell's magic is among them, blank lines are between them."""
        has_cell_magic = re.search(r"^%%", block.text, re.MULTILINE)
        cells = re.split(r"\n{2,}", block.text) if has_cell_magic else [block.text]
        outcomes = [self._stage.shell.run(cell.strip("\n")) for cell in cells]
        self._shown = COLOUR.sub("", "".join(shown for _, shown in outcomes))
        errors = [result.error_before_exec or result.error_in_exec for result, _ in outcomes]
        names = [type(error).__name__ for error in errors if error]
        expected = [block.notes["raises"]] if "raises" in block.notes else []
        assert names == expected, f"raised {names}, not {expected}; shown: {self._shown}"

    def commands(self, block: Block) -> None:
        """Run it in bash, which stops at the first command that fails. What it exports has to be settings."""
        check = "\nfarm config check" if re.search(r"^export ", block.text, re.MULTILINE) else ""
        self._shown = self._bash(block.text + check, typed=block.notes.get("types", ""))

    def output(self, block: Block) -> None:
        """See that the block before it shows these words, in a row; ``…`` stands for anything."""
        shown, text = self._shown, block.text
        if "figures vary" in block.notes:
            shown, text = (re.sub(r"\d[\d.,]*", "0", each) for each in (shown, text))
        pattern = r"\s+".join(re.escape(word).replace("…", ".*?") for word in text.split())
        assert re.search(rf"(?<!\S){pattern}(?!\S)", shown, re.DOTALL), (
            f"not shown by the block before it, but: {self._shown}"
        )

    def _save(self, block: Block) -> None:
        path = Path(block.notes["file"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, "utf-8")
        check_saved(path)
        for command in commands_in(path):
            self._bash(command)

    def _bash(self, script: str, typed: str = "") -> str:
        done = subprocess.run(
            ["timeout", str(WAIT_S), "bash", "-c", TRAP + script],
            input=typed,
            capture_output=True,
            text=True,
            check=False,
        )
        shown = done.stdout + done.stderr
        code = done.returncode
        assert code == 0, f"exit code {code}: {shown}"
        return shown


def _only_as_file(_: Runner, block: Block) -> None:
    raise AssertionError(f"say above it which file it is: <!-- file: NAME -->; it is {block.language}")


LANGUAGES: dict[str, Callable[[Runner, Block], None]] = {
    "python": Runner.cells,
    "ipython": Runner.cells,
    "sh": Runner.commands,
    "text": Runner.output,
    **dict.fromkeys(("toml", "yaml", "json", "ini"), _only_as_file),
}
