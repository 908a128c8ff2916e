"""What a cell's answer takes beside one request: tools that may be called, a value that it is to be."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from farm_notebook.farm.step_events import StepEvent, Unenforced
from farm_notebook.farm.steps import shaped, steps
from farm_notebook.notebook.confirmation import Confirmation
from farm_notebook.notebook.structured import StructuredFormat, as_wanted, check_wanted
from farm_notebook.notebook.tool_names import named_functions, named_schema
from farm_notebook.notebook.values import as_text
from farm_notebook.reply import Reply
from farm_notebook.schemas import Shape, as_shape
from farm_notebook.types import ChatRequest

if TYPE_CHECKING:
    from farm_notebook.farm import AsyncFarm
    from farm_notebook.notebook.cells.chat_options import ChatOptions
    from farm_notebook.notebook.formats import Format
    from farm_notebook.notebook.session import Session

__all__ = ["Plan"]


class Plan:
    """What the options ``--tool`` and ``--schema`` ask for.

    Args:
        session: The shell's.
        options: Of the line.

    Raises:
        InvalidRequestError: A name names nothing that fits, or ``--confirm`` could ask nobody.
        MissingExtraError: Something is not installed that the value needs.
    """

    def __init__(self, session: Session, options: ChatOptions) -> None:
        namespace = session.namespace()
        self.functions: tuple[Callable[..., Any], ...] = named_functions(options.tool, namespace)
        source = None if options.schema is None else named_schema(options.schema, namespace)
        self.shape: Shape | None = None if source is None else as_shape(source)
        self._wanted = options.as_ or "object"
        check_wanted(self._wanted)
        self._max_steps = options.max_steps
        self._confirm = None
        if options.confirm and self.functions and not options.dry_run:
            self._confirm = Confirmation(session.shell)
        self._unenforced = ""

    def first(self, request: ChatRequest) -> ChatRequest:
        """The request that is sent first."""
        return request if self.shape is None else shaped(request, self.shape)

    def form(self, form: Format) -> Format:
        """What the answer is shown as; a value is always shown as one."""
        return form if self.shape is None else StructuredFormat(self.shape)

    def events(self, farm: AsyncFarm, request: ChatRequest) -> AsyncGenerator[StepEvent, None] | None:
        """The events of all requests; ``None`` where one will do."""
        if not self.functions and self.shape is None:
            return None
        return self._noted(
            steps(
                farm.events,
                request,
                toolbox=farm.toolbox(self.functions, render=as_text),
                shape=self.shape,
                max_steps=self._max_steps,
                confirm=self._confirm,
            )
        )

    def remark(self, reply: Reply) -> str:
        """What the user is to know of how the answer came about, in one line."""
        facts = []
        if self._unenforced:
            facts.append(f"asked for JSON in words, and checked: {self._unenforced}")
        facts += [f"corrected once: {step.problem}" for step in reply.steps if step.problem]
        if reply.tool_calls and not reply.is_partial:
            several = "s" * (self._max_steps > 1)
            facts.append(f"stopped after {self._max_steps} request{several} (--max-steps)")
        return " · ".join(facts)

    def value(self, answer: object) -> object:
        """The cell's value: what the answer is, as the line wants it; a ``Reply`` stays one."""
        if self.shape is None or isinstance(answer, Reply):
            return answer
        return as_wanted(answer, self.shape, self._wanted)

    async def _noted(self, events: AsyncGenerator[StepEvent, None]) -> AsyncGenerator[StepEvent, None]:
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Unenforced):
                    self._unenforced = event.problem
                yield event
