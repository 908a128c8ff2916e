"""How far ``from_pretrained`` is, told by the tensors it has placed; and a way to stop it between two."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from farm_notebook.providers.huggingface.work import Halt

__all__ = ["watched"]

Report = Callable[[int, int], None]
_watches = threading.local()
_lock = threading.Lock()


@contextmanager
def watched(halt: Halt, report: Report, tensor_bytes: Mapping[str, int], total_bytes: int) -> Iterator[None]:
    """Have loading in this thread show no bars, tell how far it is, and stop when asked to.

    transformers draws a bar as it places tensors, and lets others draw it (``set_tqdm_hook``). The hook is
    one for the whole process, so it is set once and leaves the bars of other threads as they were.

    Args:
        halt: Looked at between two tensors.
        report: Called with the bytes placed so far, and those in all.
        tensor_bytes: Of each tensor by its name in the checkpoint; where a name is missing, tensors are taken
            to be of one size.
        total_bytes: Of all tensors.

    Raises:
        HaltedError: From within the loading.
    """
    _install()
    _watches.bar = lambda items: _Bar(items, halt, report, tensor_bytes, total_bytes)
    try:
        yield
    finally:
        del _watches.bar


class _Bar:
    """What stands in for a bar of tqdm: iterated over, or updated by hand."""

    def __init__(
        self,
        items: Iterable[Any] | None,
        halt: Halt,
        report: Report,
        tensor_bytes: Mapping[str, int],
        total_bytes: int,
    ) -> None:
        self._items = list(items or ())
        self._halt = halt
        self._report = report
        self._tensor_bytes = tensor_bytes
        self._total = total_bytes

    def __iter__(self) -> Iterator[Any]:
        average = self._total / max(1, len(self._items))
        done = 0.0
        for item in self._items:
            self._halt.check()
            size = sum(self._tensor_bytes.get(name, 0) for name in _names(item)) or average
            yield item  # when it is asked for the next, this one is placed
            done = min(done + size, self._total)
            self._report(int(done), self._total)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def __getattr__(self, name: str) -> Callable[..., None]:
        """``update``, ``set_description``, ``close`` and the like: nothing is drawn."""
        return lambda *_, **__: self._halt.check()


def _names(item: Any) -> set[str]:
    """The checkpoint's tensors behind one item of transformers' loop, ``(parameter, conversion)``."""
    try:
        parameter, conversion = item
        return {name for names in conversion.layer_targets.values() for name in names} or {parameter}
    except (TypeError, ValueError, AttributeError):
        return set()


def _install() -> None:
    from transformers import modeling_gguf_pytorch_utils as gguf
    from transformers.utils import logging

    with _lock:
        if getattr(_install, "done", False):
            return
        earlier = logging.set_tqdm_hook(None)

        def hook(factory: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
            if (bar := getattr(_watches, "bar", None)) is not None:
                return bar(args[0] if args else options.get("iterable"))
            return earlier(factory, args, options) if earlier else factory(*args, **options)

        logging.set_tqdm_hook(hook)
        # GGUF files of some architectures are read in a loop of its own, whose bar goes round the hook.
        drawn = vars(gguf)["tqdm"]
        vars(gguf)["tqdm"] = lambda *args, **options: hook(drawn, args, options)
        _install.done = True  # type: ignore[attr-defined]  # nothing else tells whether the hook is ours
