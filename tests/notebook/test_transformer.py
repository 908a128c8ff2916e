"""Which cells become awaited ones, and which lines with a question mark are questions to the model."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import ipykernel
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from farm_notebook.notebook.transformer import CellTransformer

SYNC = "get_ipython().run_line_magic('farm_chat', "


def transformer(*, kernel: bool = True, autoawait: bool = True) -> CellTransformer:
    shell: Any = SimpleNamespace(autoawait=autoawait)
    if kernel:
        shell.kernel = object()
    return CellTransformer(shell)


def transform(cell: str, made: CellTransformer | None = None, *, with_ours: bool = True) -> str:
    """The Python that IPython would run."""
    manager: Any = TransformerManager()  # type: ignore[no-untyped-call]  # IPython's
    if with_ours:
        manager.cleanup_transforms.append(made or transformer())
    return str(manager.transform_cell(cell))


def awaited(cell: str, made: CellTransformer | None = None) -> tuple[str, str | None] | None:
    """What the rewritten code calls the async magic with; ``None`` where it does not."""
    code = transform(cell, made)
    if not code.startswith("await "):
        return None
    calls: list[tuple[str, str | None]] = []

    async def ask_async(name: str, line: str, cell: str | None) -> None:
        assert name == "farm_chat"
        calls.append((line, cell))

    magics = SimpleNamespace(ask_async=ask_async)
    shell = SimpleNamespace(magics_manager=SimpleNamespace(registry={"FarmMagics": magics}))
    compiled = compile(code, "<cell>", "eval", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    waiting: Coroutine[Any, Any, None] = eval(compiled, {"get_ipython": lambda: shell})
    asyncio.run(waiting)
    return calls[0]


@pytest.mark.parametrize(
    ("cell", "line", "body"),
    [
        ("%%farm_chat\nHi\n", "", "Hi\n"),
        ("%%farm_chat -m x --out r\nHi\nthere\n", "-m x --out r", "Hi\nthere\n"),
        ("\n\n%%farm_chat\nHi\n", "", "Hi\n"),
        ("%%farm_chat\n\n  indented\n\nend\n", "", "\n  indented\n\nend\n"),
        ("%%farm_chat\nIs it so?\n", "", "Is it so?\n"),
        ("%%farm_chat\n%farm_chat Hi\n!ls\n", "", "%farm_chat Hi\n!ls\n"),
        ("%%farm_chat\n'''\n\"\"\"\n\\\n{x}\n", "", "'''\n\"\"\"\n\\\n{x}\n"),
        ("%%farm_chat\n", "", ""),
        ("%%farm_chat -s 'a \\ b'\nHi\n", "-s 'a \\ b'", "Hi\n"),
        ("%%farm_chat -s 'Why?'\nHi\n", "-s 'Why?'", "Hi\n"),
        ("%farm_chat Hi", "Hi", None),
        ("%farm_chat Hi there\n\n", "Hi there", None),
        ("%farm_chat What is up?", "What is up?", None),
        ("%farm_chat -s 'Be kind.' What's \"up\"?", "-s 'Be kind.' What's \"up\"?", None),
        ("%farm_chat", "", None),
        ("  %farm_chat Hi", "Hi", None),
        ("\n\n%farm_chat Hi\n", "Hi", None),
    ],
)
def test_a_cell_that_is_one_magic_is_awaited(cell: str, line: str, body: str | None) -> None:
    assert awaited(cell) == (line, body)


@pytest.mark.parametrize(
    "cell",
    [
        "x = '%%farm_chat'\n",
        "x = '''\n%%farm_chat\nHi\n'''\n",
        "x = '''\n%farm_chat Hi?\n'''\n",
        "'''\n%farm_chat Hi\n'''\n",
        "# %farm_chat Hi\n",
        "%%farm_chatter\nHi\n",
        "%farm_chatter Hi\n",
        "%%farm_chat_async\nHi\n",
        "%%other\n%farm_chat Hi\n",
        "%%farm_chat?",
        "%farm_chat?",
        "%farm_chat??",
        "%%farm_chat??",
        "%farm",
        "%farm models",
        "u = %farm usage",
        "%farm?",
        "%farm??",
        "?%farm",
        "%%farm\nmodels\n",
        "%farmer models?",
        "x = 7 %farm\n",
        "s = '''\n%farm cache?\n'''\n",
        "?%farm_chat",
        "?%%farm_chat",
        "%time %farm_chat Hi\n",
        "%%time\n%farm_chat Hi?\n",
        "%%writefile prompts.txt\n%farm_chat Hi?\n",
        "print(1)\n",
        "",
        "\n\n",
        "x = (\n",
        "'''\n",
    ],
)
def test_everything_else_is_what_ipython_makes_of_it(cell: str) -> None:
    assert transform(cell) == transform(cell, with_ours=False)


@pytest.mark.parametrize(
    "cell",
    [
        "%farm_chat Hi\nx = 1\n",
        "x = 1\n%farm_chat Hi\n",
        "# first\n%farm_chat Hi\n",
        "r = %farm_chat Hi\n",
        "for x in y:\n    %farm_chat Hi {x}\n",
        "%farm_chat Hi \\\n  there\n",
    ],
)
def test_a_magic_among_other_code_stays_synchronous(cell: str) -> None:
    code = transform(cell)
    assert "await" not in code
    assert SYNC in code
    compile(code, "<cell>", "exec")


@pytest.mark.parametrize(
    ("cell", "calls"),
    [
        ("x = 1\n%farm_chat What is it?\n", ["What is it?"]),
        ("for x in y:\n    %farm_chat Is it {x}?\n", ["Is it {x}?"]),
        ("if x:\n\t%farm_chat Is it?\n", ["Is it?"]),
        ('r = %farm_chat What\'s "up"?\n', ['What\'s "up"?']),
        ("%farm_chat One?\n%farm_chat Two?\n", ["One?", "Two?"]),
        ("%farm_chat One?  \nprint(1)\n", ["One?  "]),
        ("%farm_chat One??\nprint(1)\n", ["One??"]),
        ("%farm history What is it?", ["history What is it?"]),
        ("%farm cache?", ["cache?"]),
        ("  %farm cache stats ?", ["cache stats ?"]),
        ("h = %farm history Is it?\n", ["history Is it?"]),
        ("for x in y:\n    %farm history {x}?\n", ["history {x}?"]),
    ],
)
def test_a_line_that_ends_with_a_question_mark_is_a_question(cell: str, calls: list[str]) -> None:
    code = transform(cell)
    compile(code, "<cell>", "exec")
    asked = [
        node.args[1].value
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "run_line_magic"
        and isinstance(node.args[1], ast.Constant)
    ]
    assert asked == calls


def test_a_question_mark_in_a_string_stays_where_it_is() -> None:
    cell = "s = '''\n%farm_chat Is it?\n'''\n%farm_chat Is it?\n"
    code = transform(cell)
    assert code.startswith("s = '''\n%farm_chat Is it?\n'''\n")
    assert code.endswith(f"{SYNC}'Is it?')\n")


@pytest.mark.parametrize("made", [transformer(kernel=False), transformer(autoawait=False)])
def test_without_a_kernel_that_may_await_the_magics_stay_synchronous(made: CellTransformer) -> None:
    assert transform("%%farm_chat -t 0\nHi?\n", made) == (
        "get_ipython().run_cell_magic('farm_chat', '-t 0', 'Hi?\\n')\n"
    )
    assert transform("%farm_chat Hi", made) == f"{SYNC}'Hi')\n"
    assert transform("%farm_chat What is up?", made) == f"{SYNC}'What is up?')\n"


def test_an_old_ipykernel_cannot_await(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ipykernel, "version_info", (7, 3, 9))
    assert awaited("%farm_chat Hi") is None
    monkeypatch.setattr(ipykernel, "version_info", (7, 4, 0))
    assert awaited("%farm_chat Hi") == ("Hi", None)


def test_a_cell_that_another_cell_runs_stays_synchronous() -> None:
    made = transformer()
    made.cell_started()
    assert awaited("%%farm_chat\nHi\n", made) is None
    made.cell_started()
    made.cell_ended()
    assert awaited("%farm_chat Hi", made) is None
    made.cell_ended()
    assert awaited("%farm_chat Hi", made) == ("Hi", None)


def test_the_end_of_the_cell_that_loaded_the_extension_does_not_count() -> None:
    made = transformer()
    made.cell_ended()
    made.cell_started()
    assert awaited("%farm_chat Hi", made) is None


def test_transforming_twice_changes_nothing_more() -> None:
    code = transform("%%farm_chat -t 0\nHi %farm_chat?\n")
    assert transform(code) == code


@pytest.mark.parametrize(
    ("cell", "is_awaited"),
    [
        ("%farm fix", True),
        ("%farm fix but why?", True),
        ("%farm  explain In[3]\n", True),
        ("%farm_code plot df?", True),
        ("%%farm_code -c df\nplot df", True),
        ("%farm fix?", False),
        ("%farm fixed", False),
        ("%farm models", False),
        ("told = %farm explain x", False),
        ("if True:\n    %farm fix\n", False),
    ],
)
def test_a_subcommand_that_asks_a_model_is_awaited_too(cell: str, is_awaited: bool) -> None:
    assert transform(cell).startswith("await ") is is_awaited
