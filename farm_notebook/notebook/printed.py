"""What cells of a kernel print and display, kept for questions about them: in terminals IPython keeps it.

The kernel's streams and its publisher pass each message through hooks, those of the thread that sends it.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["PrintedTexts"]

MOST_CELLS = 500
LONGEST = 8_000  # characters of a cell; its end is kept


class PrintedTexts:
    """The texts of one shell's cells, by number; the oldest are forgotten.

    Args:
        shell: The shell. Of one that is no kernel's nothing is kept.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell: Any = shell
        self._texts: OrderedDict[int, str] = OrderedDict()
        self._numbers: OrderedDict[str, int] = OrderedDict()  # of cells, by the message that sent them
        self._streams: list[Any] = []

    def install(self) -> None:
        """Look on from now on."""
        if not hasattr(self._shell, "kernel"):
            return
        self._shell.events.register("pre_run_cell", self._begin)
        self._shell.display_pub.register_hook(self._note)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "register_hook") and hasattr(stream, "pub_thread"):
                self._streams.append(stream)
                stream.pub_thread.schedule(lambda stream=stream: stream.register_hook(self._note))

    def remove(self) -> None:
        """Look away, and forget."""
        if not hasattr(self._shell, "kernel"):
            return
        self._shell.events.unregister("pre_run_cell", self._begin)
        self._shell.display_pub.unregister_hook(self._note)
        for stream in self._streams:
            stream.pub_thread.schedule(lambda stream=stream: stream.unregister_hook(self._note))
        self._streams.clear()
        self._texts.clear()

    def of(self, number: int) -> str:
        """What a cell printed and displayed, or the end of it."""
        return self._texts.get(number, "")

    def _begin(self, info: Any) -> None:
        """For the event ``pre_run_cell``, which comes before the cell is one of the history."""
        if not info.store_history:
            return
        sent = self._shell.get_parent().get("header", {}).get("msg_id")
        if sent is not None and self._shell.history_manager is not None:
            self._numbers[sent] = len(self._shell.history_manager.input_hist_raw)
            if len(self._numbers) > MOST_CELLS:
                self._numbers.popitem(last=False)

    def _note(self, message: Any) -> Any:
        """A message on its way to the front end; it goes on as it is."""
        number = self._numbers.get(message["parent_header"].get("msg_id", ""))
        text = _text_of(message) if number is not None else ""
        if number is not None and text:
            self._texts[number] = (self._texts.get(number, "") + text)[-LONGEST:]
            if len(self._texts) > MOST_CELLS:
                self._texts.popitem(last=False)
        return message


def _text_of(message: Any) -> str:
    content = message["content"]
    if message["header"]["msg_type"] == "stream":
        return str(content.get("text", ""))
    if message["header"]["msg_type"] == "display_data" and "farm" not in content.get("metadata", {}):
        text = content.get("data", {}).get("text/plain", "")
        return f"{text}\n" if isinstance(text, str) and text else ""
    return ""
