"""One request of a cell: its events go to the display, and what arrived is kept whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

from farm_notebook.errors import FarmError, InterruptedReply, InvalidAnswerError, ProviderError
from farm_notebook.farm import AsyncFarm
from farm_notebook.farm.step_events import StepEvent
from farm_notebook.farm.step_replies import StepsBuilder
from farm_notebook.notebook.display import Display
from farm_notebook.notebook.news import News
from farm_notebook.reply import Reply, ReplyBuilder
from farm_notebook.types import ChatRequest, FinishReason, ModelRef, Started

__all__ = ["Answer"]


class Answer:
    """One request on its way; ``reply`` is set as soon as there is something to keep.

    Args:
        farm: Who asks the model.
        request: What is asked.
        display: What the answer is painted on.
        news: What the user was told of models already.
        remark: What is said below the answer, besides; told when it is there, whole or in part.
        events: Where the answer takes several requests, the events of all of them; without it those of one.
    """

    def __init__(
        self,
        farm: AsyncFarm,
        request: ChatRequest,
        display: Display,
        news: News,
        *,
        remark: Callable[[Reply], str] = lambda reply: "",
        events: AsyncGenerator[StepEvent, None] | None = None,
    ) -> None:
        self.request = request
        self.reply: Reply | None = None
        self._farm = farm
        self._display = display
        self._news = news
        self._remark = remark
        self._begun_at = news.now()
        self._events = events
        self._builder = ReplyBuilder(request) if events is None else StepsBuilder(request)
        self._digest: asyncio.Future[str | None] | None = None

    async def run(self) -> Reply:
        """Stream the answer into the display.

        Returns:
            The whole answer.

        Raises:
            CancelledError: The user interrupted; ``reply`` holds what had arrived.
            FarmError: The request failed; ``reply`` holds what had arrived, if anything had.
        """
        try:
            async with aclosing(self._events or self._farm.events(self.request)) as events:
                async for event in events:
                    if isinstance(event, Started):
                        self._ask_digest(event.ref)
                    self._builder.add(event)  # type: ignore[arg-type]  # a stream's own are all it has
                    self._display.add(event)
            if self._digest is not None:
                with suppress(FarmError):  # an answer is not lost because its model's digest cannot be told
                    self._builder.digest = await self._digest
            self.reply = self._builder.build()
        except InvalidAnswerError:
            self.reply = self._builder.build()
            self._finish(self.reply)
            raise
        except asyncio.CancelledError:
            self._keep_partial("interrupted")
            raise
        except FarmError as error:
            self._explain(error)
            if isinstance(error, ProviderError):
                error.partial_text = error.partial_text or self._builder.text
            self._keep_partial("interrupted" if isinstance(error, InterruptedReply) else "error")
            raise
        except BaseException:
            self._display.discard()
            raise
        finally:
            self._drop_digest()
        self._finish(self.reply)
        return self.reply

    @property
    def value(self) -> object:
        """What the answer is, where it was to be something, and is; else the ``Reply``."""
        builder = self._builder
        return builder.value if isinstance(builder, StepsBuilder) and builder.is_valid else self.reply

    def _finish(self, reply: Reply) -> None:
        news = self._news.of(reply.ref, self._farm.models.events(), until=self._begun_at)
        self._display.finish(reply, " · ".join(filter(None, (self._remark(reply), news))))

    def _explain(self, error: FarmError) -> None:
        """Say that it is a picture of the conversation that a model cannot take, where the cell has none."""
        *before, last = self.request.messages
        if "image" in str(error) and not last.images and any(message.images for message in before):
            error.args = (
                f"{error} The picture is one of the conversation: --no-history asks without it, and --reset "
                "forgets it.",
            )

    def _ask_digest(self, ref: ModelRef) -> None:
        """Find it out while the answer is on its way; a model that another one stands in for is not asked."""
        self._drop_digest()
        self._digest = asyncio.ensure_future(self._farm.digest(ref))

    def _drop_digest(self) -> None:
        if self._digest is not None and not self._digest.cancel() and not self._digest.cancelled():
            self._digest.exception()  # nobody needs to know of it any more

    def _keep_partial(self, reason: FinishReason) -> None:
        digest = self._digest
        if digest and digest.done() and not digest.cancelled() and digest.exception() is None:
            self._builder.digest = digest.result()
        if reason == "error" and self._builder.is_empty:
            self._display.discard()
            return
        self.reply = self._builder.partial(reason)
        self._finish(self.reply)
