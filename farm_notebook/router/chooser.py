"""Decides for each request what the settings leave open: which model, which place, and who stands in."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from farm_notebook.config import AUTO, FarmConfig
from farm_notebook.errors import FarmError, InvalidRequestError
from farm_notebook.router.balance import ordered
from farm_notebook.router.hints import briefly
from farm_notebook.router.listing import ModelLists, ModelsOf
from farm_notebook.router.names import is_dynamic
from farm_notebook.router.picking import ASK_S, Pick, Picker
from farm_notebook.router.wanted import Wanted, wanted_by
from farm_notebook.types import Capability, ChatRequest, ModelInfo, ModelRef

__all__ = ["Choice", "Chooser"]

_NO_REF = ModelRef("", "")


@dataclass(frozen=True, slots=True)
class Choice:
    """What was decided for one request.

    Args:
        request: With the model that is asked, and in its route who may stand in, all of them models.
        reason: Why that one, in words for the user; empty where there was nothing to choose.
        skipped: Who was left out, with the reason.
    """

    request: ChatRequest
    reason: str = ""
    skipped: Mapping[ModelRef, str] = field(default_factory=dict)


class Chooser:
    """Decides on the farm's event loop; nothing is asked for a request whose model is plain.

    Args:
        config: The settings.
        models_of: Asks a provider, by its name, for its models.
        ailment: What is known to be wrong with a model, in a line; ``None`` where nothing is.
        in_flight: How many requests a model is answering.
        clock: Seconds from any fixed moment.
    """

    def __init__(
        self,
        config: FarmConfig,
        models_of: ModelsOf,
        *,
        ailment: Callable[[ModelRef], str | None] = lambda ref: None,
        in_flight: Callable[[ModelRef], int] = lambda ref: 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ailment = ailment
        self._in_flight = in_flight
        self._lists = ModelLists(models_of, clock=clock)
        self._picker = Picker(config, self._lists, ailment)

    async def settle(self, request: ChatRequest) -> tuple[ChatRequest, str]:
        """``choose``, as ``pipeline.route`` takes it."""
        choice = await self.choose(request)
        return choice.request, choice.reason

    async def concrete(
        self, ref: ModelRef, *, needs: frozenset[Capability] = frozenset()
    ) -> tuple[ModelRef, str]:
        """The model that a ref is now, and why; for what is no request, such as loading or embedding.

        Args:
            ref: Dynamic or not.
            needs: What the model must be able to do; without any it is the one that a chat would meet.

        Raises:
            FarmError: There is none.
        """
        if not is_dynamic(ref):
            return ref, ""
        pick = await self._picker.pick(ref, Wanted(needs or frozenset({"chat"})))
        return pick.ref, pick.reason

    async def embedder(self, ref: ModelRef, *, is_named: bool) -> ModelRef:
        """The model that is to embed.

        Args:
            ref: Dynamic or not.
            is_named: Whether the user named it; else another of its provider's takes the place of one that is
                known not to embed, as of the model that chats.

        Raises:
            FarmError: There is none.
        """
        wanted = Wanted(frozenset({"embedding"}))
        if not is_named and not is_dynamic(ref):
            listed = await self._listed(ref.provider)
            if any(info.ref == ref and wanted.lacking(info) for info in listed):
                ref = ModelRef(ref.provider, AUTO)
        return (await self._picker.pick(ref, wanted)).ref if is_dynamic(ref) else ref

    async def context_tokens(self, ref: ModelRef) -> int | None:
        """The size of a model's context window in tokens, where its provider lists it."""
        infos = await self._listed(ref.provider)
        return next((info.context_tokens for info in infos if info.ref == ref), None)

    def forget(self, ref: ModelRef) -> None:
        """A model that was chosen has failed; the next choice looks again."""
        self._picker.forget(ref)

    async def choose(self, request: ChatRequest, *, in_general: bool = False) -> Choice:
        """Decide.

        Args:
            request: As ``build_request`` makes it.
            in_general: Order places by their weights, as for no request in particular.

        Raises:
            InvalidRequestError: Everyone who may answer is known to lack something that it needs.
            FarmError: No model is behind the name now.
        """
        wanted, skipped = wanted_by(request), dict[ModelRef, str]()
        if _is_plain(request) and not wanted.is_particular:
            return Choice(request)
        first = self._places(request, in_general=in_general)
        named = list(dict.fromkeys((*first, *request.route.alternates)))
        picks = await self._concrete(named, len(first), wanted, skipped)
        refs = list(dict.fromkeys(pick.ref for pick in picks))
        reasons = {pick.ref: pick.reason for pick in reversed(picks)}
        if len(refs) > 1 and wanted.is_particular:
            refs = await self._able(refs, wanted, skipped)
        told = [reasons[refs[0]]] if reasons[refs[0]] else []
        if len(first) > 1 and refs[0] in first and not told:
            by = "the fewest requests under way" if request.route.balance == "least_busy" else "weight"
            told.append(f"it is one of {len(first)} places of {request.route.name!r}, chosen by {by}")
        if (missed := named[0]) in skipped:
            told.append(f"{missed} was passed over: {skipped[missed]}")
        reason = "; ".join(told)
        return Choice(_settled(request, refs, wanted, reason), reason, skipped)

    def _places(self, request: ChatRequest, *, in_general: bool) -> list[ModelRef]:
        """Those of equal standing, in the order in which this request meets them."""
        if not (places := request.route.deployments):
            return [request.ref]
        key = None if in_general else replace(request, ref=_NO_REF).fingerprint()
        return ordered(
            places, key, balance=request.route.balance, ailment=self._ailment, in_flight=self._in_flight
        )

    async def _concrete(
        self, refs: Sequence[ModelRef], first: int, wanted: Wanted, skipped: dict[ModelRef, str]
    ) -> list[Pick]:
        """Models in the place of dynamic refs; at least one, and without those that are nothing now."""
        dynamic = sum(map(is_dynamic, refs))
        if not dynamic:
            return [Pick(ref, "") for ref in refs]

        async def outcome(ref: ModelRef, is_named: bool) -> Pick | FarmError:
            if not is_dynamic(ref):
                return Pick(ref, "")
            try:
                return await self._picker.pick(ref, wanted, is_named=is_named)
            except FarmError as error:
                return error

        named = [(ref, place < first) for place, ref in enumerate(refs)]
        if dynamic > 1:
            outcomes = await asyncio.gather(*(outcome(*each) for each in named))
        else:  # a pick that is remembered takes no time, and a task for it would
            outcomes = [await outcome(*each) for each in named]
        picks = [found for found in outcomes if isinstance(found, Pick)]
        for ref, found in zip(refs, outcomes, strict=True):
            if isinstance(found, FarmError):
                if not picks:
                    raise found
                skipped[ref] = briefly(found)
        return picks

    async def _able(
        self, refs: Sequence[ModelRef], wanted: Wanted, skipped: dict[ModelRef, str]
    ) -> list[ModelRef]:
        """Those that are not known to lack anything of what is wanted."""
        providers = list(dict.fromkeys(ref.provider for ref in refs))
        listed = await asyncio.gather(*map(self._listed, providers))
        infos = {info.ref: info for found in listed for info in found}
        lacking = {ref: wanted.lacking(infos[ref]) if ref in infos else "" for ref in refs}
        able = [ref for ref in refs if not lacking[ref]]
        if not able and wanted.is_estimate:  # then they count themselves
            return await self._able(refs, wanted.certain, skipped)
        if not able:
            each = "; ".join(f"{ref} lacks {lacks}" for ref, lacks in lacking.items())
            raise InvalidRequestError(
                f"No model that may answer can take this request (it needs {wanted}): {each}."
            )
        skipped.update({ref: f"it lacks {lacks}" for ref, lacks in lacking.items() if lacks})
        return able

    async def _listed(self, provider: str) -> list[ModelInfo]:
        try:
            return await self._lists.get(provider, deadline_s=ASK_S)
        except FarmError:  # what nobody can tell is taken to be there; the request itself will say
            return []


def _is_plain(request: ChatRequest) -> bool:
    """Whether its models are named, each once, so that there is nothing to choose where any will do."""
    way = request.route
    named = (request.ref, *way.alternates)
    return not (way.deployments or any(map(is_dynamic, named))) and len({*named}) == len(named)


def _settled(request: ChatRequest, refs: Sequence[ModelRef], wanted: Wanted, reason: str) -> ChatRequest:
    route = request.route
    if refs[0] == request.ref and tuple(refs[1:]) == route.alternates and not route.deployments:
        return request
    settled = replace(
        route,
        reason=reason or route.reason,
        deployments=(),
        alternates=tuple(refs[1:]),
        needs=wanted.needs,
        context_tokens=wanted.context_tokens,
    )
    return replace(request, ref=refs[0], route=settled)
