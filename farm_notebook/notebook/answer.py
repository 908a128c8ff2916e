"""One request of a cell: its events go to the display, and what arrived is kept whatever happens."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from farm_notebook.errors import FarmError, ProviderError
from farm_notebook.farm import AsyncFarm
from farm_notebook.notebook.display import Display
from farm_notebook.reply import Reply, ReplyBuilder
from farm_notebook.types import ChatRequest, FinishReason

__all__ = ["Answer"]


class Answer:
    """One request on its way; ``reply`` is set as soon as there is something to keep.

    Args:
        farm: Who asks the model.
        request: What is asked.
        display: What the answer is painted on.
    """

    def __init__(self, farm: AsyncFarm, request: ChatRequest, display: Display) -> None:
        self.reply: Reply | None = None
        self._farm = farm
        self._request = request
        self._display = display
        self._builder = ReplyBuilder(request)

    async def run(self) -> Reply:
        """Stream the answer into the display.

        Returns:
            The whole answer.

        Raises:
            CancelledError: The user interrupted; ``reply`` holds what had arrived.
            FarmError: The request failed; ``reply`` holds what had arrived, if anything had.
        """
        digest = asyncio.ensure_future(self._farm.digest(self._request))
        try:
            async with aclosing(self._farm.events(self._request)) as events:
                async for event in events:
                    self._builder.add(event)
                    self._display.add(event)
            self._builder.digest = await digest
            self.reply = self._builder.build()
        except asyncio.CancelledError:
            self._keep_partial("interrupted", digest)
            raise
        except FarmError as error:
            if isinstance(error, ProviderError):
                error.partial_text = error.partial_text or self._builder.text
            self._keep_partial("error", digest)
            raise
        except BaseException:
            self._display.discard()
            raise
        self._display.finish(self.reply)
        return self.reply

    def _keep_partial(self, reason: FinishReason, digest: asyncio.Future[str | None]) -> None:
        if digest.done() and not digest.cancelled() and digest.exception() is None:
            self._builder.digest = digest.result()
        digest.cancel()
        if reason == "error" and self._builder.is_empty:
            self._display.discard()
            return
        self.reply = self._builder.partial(reason)
        self._display.finish(self.reply)
