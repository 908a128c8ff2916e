"""From the options of a call to its steps, and from these to what the caller keeps."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

from farm_notebook.errors import FarmError, ProviderError
from farm_notebook.farm.step_events import StepEvent
from farm_notebook.farm.step_replies import StepsBuilder
from farm_notebook.farm.steps import steps
from farm_notebook.farm.toolbox import Confirm
from farm_notebook.reply import Reply
from farm_notebook.request import Options, Prompt
from farm_notebook.schemas import as_shape
from farm_notebook.types import ChatRequest

if TYPE_CHECKING:
    from farm_notebook.farm.core import AsyncFarm

__all__ = ["answered", "planned"]


def planned(
    farm: AsyncFarm, prompt: Prompt, options: Options, max_steps: int, confirm: Confirm | None
) -> tuple[ChatRequest, AsyncGenerator[StepEvent, None]]:
    """The first request, and the events of all that follow from it.

    Raises:
        InvalidRequestError: An option or the prompt is wrong, or a tool is no function.
        MissingExtraError: The schema is a JSON schema, and nothing is installed to check it by.
    """
    request = farm.request(prompt, **options)
    functions, schema = options.get("tools"), options.get("schema")
    listed = functions if isinstance(functions, list | tuple) else (functions,) if functions else ()
    events = steps(
        farm.events,
        request,
        toolbox=farm.toolbox(listed),
        shape=None if schema is None else as_shape(schema),
        max_steps=max_steps,
        confirm=confirm,
    )
    return request, events


async def answered(
    farm: AsyncFarm, request: ChatRequest, events: AsyncGenerator[StepEvent, None]
) -> tuple[Reply, object]:
    """The last reply, with what led to it, and the value that fits the schema, if one was asked for."""
    builder = StepsBuilder(request)
    try:
        async with aclosing(events):
            async for event in events:
                builder.add(event)
    except ProviderError as error:
        error.partial_text = error.partial_text or builder.text
        raise
    with suppress(FarmError):  # an answer is not lost because its model's digest cannot be told
        builder.digest = await farm.digest(builder.ref)
    return builder.build(), builder.value
