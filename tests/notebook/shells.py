"""A plain IPython shell in this process, for tests of magics; a test makes fixtures of the functions."""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import farm_notebook.farm
import farm_notebook.threads
from farm_notebook.notebook.magics import FarmMagics
from farm_notebook.reply import Reply
from farm_notebook.threads import Threads
from farm_notebook.types import ChatMessage

__all__ = ["Shell", "loaded_shell", "plain_shell", "snapshot"]

NAMES_OF_HISTORY = re.compile(r"_+(i|ii|iii|i?\d+|oh|dh|ih)?|In|Out")


class Shell:
    """One IPython shell, and what a test asks of it."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        config = Config()
        config.HistoryManager.enabled = False
        config.InteractiveShell.colors = "nocolor"
        self.ip: Any = InteractiveShell.instance(config=config)
        self._capsys = capsys

    def run(self, cell: str) -> tuple[Any, str]:
        """Run a cell; its outcome and what it printed."""
        self._capsys.readouterr()
        result = self.ip.run_cell(cell, store_history=True)
        captured = self._capsys.readouterr()
        return result, captured.out + captured.err

    def reply(self, cell: str) -> Reply:
        """The reply that is a cell's value."""
        result, _ = self.run(cell)
        result.raise_error()
        assert isinstance(result.result, Reply)
        return result.result

    def error(self, cell: str) -> tuple[BaseException, str]:
        """The error that ends a cell, and all that is printed of it."""
        result, out = self.run(cell)
        assert result.error_in_exec is not None
        return result.error_in_exec, out

    def sent(self, line: str, prompt: str) -> str:
        """What a request would send."""
        result, out = self.run(f"%%farm_chat --dry-run {line}\n{prompt}")
        result.raise_error()
        return out

    @property
    def magics(self) -> FarmMagics:
        found = self.ip.magics_manager.registry["FarmMagics"]
        assert isinstance(found, FarmMagics)
        return found

    def thread(self, name: str = "notebook") -> tuple[ChatMessage, ...]:
        return self.magics.session.threads.history(name)


def plain_shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    """A shell without the extension; the model that answers is ``scripted:echo``."""
    monkeypatch.setenv("FARM_MODEL", "scripted:echo")
    monkeypatch.setattr(farm_notebook.farm.blocking, "_default", None)
    monkeypatch.setattr(farm_notebook.threads, "_default", Threads())
    for name in ("last_value", "last_type", "last_traceback"):
        if hasattr(sys, name):
            monkeypatch.delattr(sys, name)
    builtins_before = dict(vars(builtins))
    hooks = sys.displayhook, sys.excepthook
    main = sys.modules["__main__"]
    InteractiveShell.clear_instance()
    shell = Shell(capsys)
    yield shell
    shell.ip.run_cell(
        "%unload_ext farm_notebook"
    ) if "farm_notebook" in shell.ip.extension_manager.loaded else None
    shell.ip.restore_sys_module_state()
    shell.ip._atexit_once()
    InteractiveShell.clear_instance()
    sys.displayhook, sys.excepthook = hooks
    sys.modules["__main__"] = main
    for name in set(vars(builtins)) - set(builtins_before):
        delattr(builtins, name)
    for name in ("last_value", "last_type", "last_traceback"):
        if hasattr(sys, name):
            delattr(sys, name)


def loaded_shell(plain: Shell) -> Shell:
    """A shell with the extension."""
    result, _ = plain.run("%load_ext farm_notebook")
    result.raise_error()
    return plain


def snapshot(ip: Any) -> dict[str, Any]:
    """All that an extension could change in a shell."""
    formatter = ip.display_formatter
    formatters = [
        *formatter.formatters.values(),
        formatter.ipython_display_formatter,
        formatter.mimebundle_formatter,
    ]
    tables = ("singleton_printers", "type_printers", "deferred_printers")
    manager = ip.input_transformer_manager
    return {
        "line magics": set(ip.magics_manager.magics["line"]),
        "cell magics": set(ip.magics_manager.magics["cell"]),
        "registry": set(ip.magics_manager.registry),
        "configurables": [id(each) for each in ip.configurables],
        "transformers": [
            list(manager.cleanup_transforms),
            list(manager.line_transforms),
            list(manager.token_transformers),
        ],
        "ast transformers": list(ip.ast_transformers),
        "callbacks": {name: list(found) for name, found in ip.events.callbacks.items()},
        "printers": [{table: dict(getattr(each, table)) for table in tables} for each in formatters],
        "showtraceback": "showtraceback" in vars(ip),
        "displayhook": sys.displayhook,
        "excepthook": sys.excepthook,
        "custom exceptions": ip.custom_exceptions,
        "names": {name for name in ip.user_ns if not NAMES_OF_HISTORY.fullmatch(name)},
        "hidden names": {name for name in ip.user_ns_hidden if not NAMES_OF_HISTORY.fullmatch(name)},
        "hooks": dict(ip.hooks),
        "matchers": list(ip.Completer.custom_matchers),
        "builtins": set(vars(builtins)),
    }
