"""The widget that joins parts in the kernel to their components in the page.

Nothing is kept in synced traits but constants, so that no answer or secret is in a widget's state, and
nothing grows. Everything travels in custom messages. From the page come

    {view, shows: [part, ...]}            which parts a view shows now; again every 15 s
    {view, shows: [...], hello: true}     the same of a view that has just appeared, and wants the state
    {view, bye: true}                     the view is gone
    {part, call, args, id}                see ``Part.calls``
    {wants: "script"}                     the panel's script, which is far larger than all that is saved

and to it go ``{script}`` and ``{part, frames: [...]}``, see ``outbox.Frame``; to every page with a view.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Callable, Sequence
from contextvars import copy_context
from functools import partial
from time import monotonic
from typing import Any

from farm_notebook import loop
from farm_notebook.errors import MissingExtraError
from farm_notebook.widgets.built import LOADER, built
from farm_notebook.widgets.outbox import Frame
from farm_notebook.widgets.part import Part
from farm_notebook.widgets.static_output import StaticOutput, static_bundle
from farm_notebook.widgets.views import GONE_S, Views

try:
    import traitlets
    from anywidget import AnyWidget
    from IPython.core.getipython import get_ipython
except ImportError as error:
    raise MissingExtraError(
        f'Panels need packages that are not installed ({error}). Run: pip install "farm-notebook[widgets]"'
    ) from error

__all__ = ["Panel"]

READY_S = 5.0  # how long a cell waits for what its static output tells

_log = logging.getLogger("farm_notebook")


class Panel(AnyWidget):
    """A widget of one or several parts.

    Args:
        entry: The name of its script and stylesheet, see ``built``.
        parts: What it shows; they are the panel's from now on, and end with it.
        clock: Seconds from any fixed moment.
    """

    panel_id = traitlets.Unicode(help="its name in the page").tag(sync=True)
    part_names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    script_id = traitlets.Unicode(help="tells its script from all others").tag(sync=True)

    def __init__(self, entry: str, parts: Sequence[Part], *, clock: Callable[[], float] = monotonic) -> None:
        self._parts = {part.name: part for part in parts}
        self._views = Views(clock=clock)
        self._expiry: asyncio.TimerHandle | None = None
        self._is_over = False
        self._esm, _ = built(LOADER)
        self._script, self._css = built(entry)
        script_id = f"{entry}-{hashlib.sha256(self._script.encode()).hexdigest()[:16]}"
        panel_id = secrets.token_hex(4)
        self._static = StaticOutput(panel_id, parts)
        for part in parts:
            part.attach(partial(self._send_frames, part.name), self._static.update)
        # Pages keep one stylesheet for each _anywidget_id.
        super().__init__(
            _anywidget_id=f"farm-{entry}",
            panel_id=panel_id,
            part_names=list(self._parts),
            script_id=script_id,
        )
        loop.at_shutdown(self.aclose)
        self.on_msg(self._receive)
        if (comm := self.comm) is not None:
            comm.on_close(lambda *_: self.close())
            # JupyterLab sends a widget's messages to a subshell, so that they arrive while a cell runs.
            # ipykernel 7.4 would send them to the shell instead that has last written to the page.
            comm._reply_subshell_for = None

    @property
    def parts(self) -> dict[str, Part]:
        """What it shows, by name."""
        return dict(self._parts)

    def close(self) -> None:
        """Take the panel out of every page and end its work."""
        if not self._is_over:
            loop.get_loop().call_soon_threadsafe(lambda: asyncio.ensure_future(self.aclose()))
        super().close()

    async def aclose(self) -> None:
        """End the parts' work; waits until it has ended."""
        if self._is_over:
            return
        self._is_over = True
        loop.not_at_shutdown(self.aclose)
        self._stop_expiry()
        await loop.run(self._close_parts())

    def _ipython_display_(self) -> None:
        """Two outputs: the live widget, and below it the static one. In a terminal there is only text."""
        shell: Any = get_ipython()
        publisher = getattr(shell, "display_pub", None)
        if publisher is None or getattr(shell, "kernel", None) is None:
            print(static_bundle(self.panel_id, self._ordered)["text/plain"])
            return
        data, metadata = self._widget_bundle()
        publisher.publish(data=data, metadata=metadata)
        try:
            loop.run_blocking(self._ready())
        finally:
            self._static.publish(shell)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """For front ends that ask for it, such as marimo; the text is that of the static output."""
        data, metadata = self._widget_bundle()
        return data | {"text/plain": static_bundle(self.panel_id, self._ordered)["text/plain"]}, metadata

    @property
    def _ordered(self) -> tuple[Part, ...]:
        return tuple(self._parts.values())

    def _widget_bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        data, metadata = super()._repr_mimebundle_() or ({}, {})
        return data | {"text/plain": ""}, metadata

    async def _ready(self) -> None:
        """Give each part its time, all at once."""
        await asyncio.gather(*(_ready(part) for part in self._ordered))

    def _receive(self, _widget: object, content: object, _buffers: object) -> None:
        """On whatever thread the kernel hears messages on."""
        loop.get_loop().call_soon_threadsafe(self._take, content, context=copy_context())

    def _take(self, content: object) -> None:
        if self._is_over:
            return
        match content:
            case {"view": str(view), "bye": True}:
                self._views.left(view)
                self._look_at_views()
            case {"view": str(view), "shows": [*shows], **rest}:
                self._views.heard(view, (name for name in shows if isinstance(name, str)))
                self._look_at_views()
                if rest.get("hello"):
                    for part in self._ordered:
                        part.tell_all()
            case {"part": str(name), "call": str(call), "args": dict(args), "id": str(call_id)} if (
                name in self._parts
            ):
                self._parts[name].receive(call, args, call_id)
            case {"wants": "script"}:
                self._say({"script": self._script})
            case _:
                _log.warning("A panel got a message that it does not understand.")

    def _look_at_views(self) -> None:
        """Tell the parts whether they are seen; look again later, for views fall silent."""
        self._stop_expiry()
        shown = self._views.shown()
        for name, part in self._parts.items():
            part.show(name in shown)
        if len(self._views):
            self._expiry = asyncio.get_running_loop().call_later(GONE_S / 3, self._look_at_views)

    def _stop_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None

    async def _close_parts(self) -> None:
        await self._static.update_now()
        await asyncio.gather(*(part.aclose() for part in self._ordered))

    def _send_frames(self, name: str, frames: list[Frame]) -> None:
        self._say({"part": name, "frames": frames})

    def _say(self, message: dict[str, Any]) -> None:
        """On the farm's loop. A message that cannot be sent is no reason to stop."""
        try:
            self.send(message)
        except Exception:  # noqa: BLE001 - a value that is no JSON, or a comm that is gone
            _log.warning("A message of a panel could not be sent: %s.", ", ".join(message), exc_info=True)


async def _ready(part: Part) -> None:
    try:
        async with asyncio.timeout(READY_S):
            await part.ready()
    except Exception:  # noqa: BLE001 - the panel tells of it when it is looked at
        _log.info("The panel %r has nothing to tell yet.", part.name, exc_info=True)
