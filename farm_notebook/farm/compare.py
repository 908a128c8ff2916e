"""One prompt to several models: who is asked, and what comes of it.

All are asked at once, or in turn where their speeds shall be fair. One that fails ends none of the others,
and whatever had arrived is kept, also where the caller leaves early.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from farm_notebook.errors import FarmError, InvalidRequestError
from farm_notebook.farm.contender import Contender
from farm_notebook.reports import Comparison, Outcome
from farm_notebook.request import Options, Prompt
from farm_notebook.types import ChatRequest, Event

if TYPE_CHECKING:
    from farm_notebook.farm.core import AsyncFarm

__all__ = ["ComparisonRun", "Watch"]

Watch: TypeAlias = Callable[[Contender, Event | None], None]
"""Is told of each event after its contender took it, and with ``None`` when the contender has ended."""


class ComparisonRun:
    """A comparison on its way; what has arrived can be read at any time.

    Args:
        farm: Who asks the models.
        prompt: The user's text, or a conversation.
        models: At least two different names.
        one_by_one: Ask them in turn, so that none takes the machine from another.
        options: As for ``AsyncFarm.chat``; they are the same for all models.

    Raises:
        InvalidRequestError: An option, the prompt or the list of models is wrong.
    """

    def __init__(
        self,
        farm: AsyncFarm,
        prompt: Prompt,
        models: Sequence[str],
        *,
        one_by_one: bool = False,
        options: Mapping[str, Any],
    ) -> None:
        self._farm = farm
        self._one_by_one = one_by_one
        names = _checked(models, options, farm.config.aliases)
        self.contenders = tuple(Contender(name, _request(farm, prompt, name, options)) for name in names)
        _check_different(self.contenders)
        self._prompt = next((_text(each.request) for each in self.contenders if each.request), str(prompt))

    @property
    def comparison(self) -> Comparison:
        """What has arrived; who has not ended yet counts as interrupted."""
        outcomes = tuple(each.outcome or Outcome(each.name) for each in self.contenders)
        return Comparison(self._prompt, outcomes, () if self._one_by_one else self._rivals(outcomes))

    async def run(self, watch: Watch = lambda contender, event: None) -> Comparison:
        """Ask them all; this runs on the farm's loop.

        Args:
            watch: Is told how far they are.

        Raises:
            CancelledError: The caller left; ``comparison`` holds what had arrived.
        """
        if self._one_by_one:
            for contender in self.contenders:
                await self._ask(contender, watch)
            return self.comparison
        asked = (self._ask(contender, watch) for contender in self.contenders)
        for ended in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(ended, BaseException):  # nobody's model, but a mistake in somebody's program
                raise ended
        return self.comparison

    async def _ask(self, contender: Contender, watch: Watch) -> None:
        try:
            if contender.request is None:
                return
            contender.begin()
            async with aclosing(self._farm.events(contender.request)) as events:
                async for event in events:
                    contender.add(event)
                    watch(contender, event)
            await contender.finish(self._farm)
        except FarmError as error:
            if contender.request and (recorded := self._farm.tape.moments(contender.request)):
                contender.measure(*recorded)
            contender.fail(error)
        finally:
            contender.stop()
            watch(contender, None)

    def _rivals(self, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
        """The names of those that ran here, where it was more than one; who was kept took nothing."""
        asked = [each for each in outcomes if each.reply is not None and not each.reply.cached]
        here = tuple(each.name for each in asked if each.reply and self._farm.runs_here(each.reply.ref))
        return here if len(here) > 1 else ()


def _checked(models: Sequence[str], options: Mapping[str, Any], aliases: Mapping[str, Any]) -> list[str]:
    if "model" in options:
        raise InvalidRequestError(f"model={options['model']!r} is one model; compare takes models=, a list.")
    if isinstance(models, str) or not isinstance(models, Sequence):
        raise InvalidRequestError(f"models={models!r} is no list. Valid: names, as in models=['a', 'b'].")
    if wrong := [name for name in models if not isinstance(name, str)]:
        raise InvalidRequestError(f"{wrong[0]!r} is not a model's name.")
    names = [name.strip() for name in models]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidRequestError(f"{twice!r} is named twice. Name different models.")
    if len(names) < 2:
        known = f" Aliases: {', '.join(aliases)}." if aliases else ""
        raise InvalidRequestError(
            f"To compare takes at least two models, not {names}. `farm models` lists what is here.{known}"
        )
    return names


def _request(
    farm: AsyncFarm, prompt: Prompt, name: str, options: Mapping[str, Any]
) -> ChatRequest | FarmError:
    """What a model is asked, or why it cannot be asked; what is wrong for all of them is raised."""
    try:
        return farm.request(prompt, **cast(Options, {**options, "model": name}))
    except InvalidRequestError:
        raise
    except FarmError as error:
        return error


def _check_different(contenders: Sequence[Contender]) -> None:
    seen: dict[str, str] = {}
    for each in contenders:
        if each.request is None:
            continue
        other = seen.setdefault(each.request.fingerprint(), each.name)
        if other != each.name:
            raise InvalidRequestError(
                f"{other!r} and {each.name!r} are the same model, {each.request.ref}, asked the same way. "
                "Name different models."
            )


def _text(request: ChatRequest) -> str:
    return request.messages[-1].content
