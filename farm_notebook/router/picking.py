"""Which model it is where the user names a provider only, or nothing at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from farm_notebook.config import AUTO, EMBEDDED_MODEL, FarmConfig
from farm_notebook.errors import (
    ConfigError,
    FarmError,
    InvalidRequestError,
    ModelNotFoundError,
    ProviderConnectionError,
    ProviderTimeoutError,
)
from farm_notebook.providers import disabled_provider, is_enabled
from farm_notebook.router.hints import briefly
from farm_notebook.router.listing import ModelLists
from farm_notebook.router.wanted import Wanted
from farm_notebook.types import Capability, ModelInfo, ModelRef

__all__ = ["ASK_S", "AUTO_ORDER", "GLANCE_S", "Pick", "Picker"]

AUTO_ORDER = ("ollama", EMBEDDED_MODEL)
"""Where ``auto`` looks, best first: a provider is asked for its models, a model is taken as it is."""

GLANCE_S = 0.5  # for a provider that nobody asked for
ASK_S = 3.0  # for one that the user named, or that is to say what its models can do
FRESH_S = 30.0  # a model that was fetched a moment ago is to be found
STUB_BYTES = 1_000_000  # an entry below that only points to a model that runs elsewhere


@dataclass(frozen=True, slots=True)
class Pick:
    """A model that was picked, and why, in words for the user."""

    ref: ModelRef
    reason: str


class Picker:
    """Picks models, and stays with each pick until it fails, so that cells in a row meet the same model.

    Args:
        config: The settings.
        lists: What providers have.
        ailment: What is known to be wrong with a model, in a line; ``None`` where nothing is.
    """

    def __init__(
        self, config: FarmConfig, lists: ModelLists, ailment: Callable[[ModelRef], str | None]
    ) -> None:
        self._config = config
        self._lists = lists
        self._ailment = ailment
        self._picked: dict[tuple[str, frozenset[Capability]], Pick] = {}

    async def pick(self, ref: ModelRef, wanted: Wanted, *, is_named: bool = True) -> Pick:
        """The model that a dynamic ref is now.

        Args:
            ref: Of any provider, of any model, or both.
            wanted: What the model must be able to do.
            is_named: Whether the user waits for just this one, so that its provider has more time.

        Raises:
            FarmError: There is none; the message says what was looked at.
        """
        if ref.provider != AUTO:
            return await self._of_provider(ref.provider, wanted, is_named=is_named)
        if ref.model != AUTO:
            return await self._holder(ref.model)
        return await self._any(wanted)

    def forget(self, ref: ModelRef) -> None:
        """A model that was picked has failed."""
        self._picked = {key: pick for key, pick in self._picked.items() if pick.ref != ref}
        self._lists.forget(ref.provider)

    async def _of_provider(self, provider: str, wanted: Wanted, *, is_named: bool) -> Pick:
        """The best of a provider's models: one that is loaded, else one that is there, else its first."""
        if (kept := self._remembered(provider, wanted)) is not None:
            return kept
        infos = await self._lists.get(
            provider,
            deadline_s=ASK_S if is_named else GLANCE_S,
            max_age_s=FRESH_S,
            anew_after_failure=is_named,
        )
        lacking = {info.ref: wanted.lacking(info) for info in infos}
        fit = [info for info in infos if not lacking[info.ref]] or _roomiest(infos, wanted.certain)
        if not fit:
            raise _nothing_fits(provider, wanted, lacking)
        best = min(fit, key=self._rank)  # of equals the one that is listed first
        state = "that is loaded" if best.loaded else "that is there" if best.available else "it lists"
        skill = f" for {wanted}" if wanted.is_particular else ""
        pick = Pick(best.ref, f"it is the first model of {provider}{skill} {state}")
        return self._remember(provider, wanted, pick)

    async def _any(self, wanted: Wanted) -> Pick:
        if (kept := self._remembered(AUTO, wanted)) is not None:
            return kept
        problems: list[str] = []
        for place in AUTO_ORDER:
            provider, _, model = place.partition(":")
            if not is_enabled(provider, self._config):
                problems.append(f"{provider} is switched off")
            elif not model:
                found = await self._at_hand(provider, wanted)
                if isinstance(found, ModelInfo):
                    state = "in its memory" if found.loaded else "at hand"
                    pick = Pick(found.ref, f"no model was named, and {provider} has this one {state}")
                    return self._remember(AUTO, wanted, pick)
                problems.append(found)
            else:
                ref = ModelRef(provider, model)  # the last resort counts the tokens itself
                if not (lacks := await self._lacking(ref, wanted.certain)):
                    return Pick(ref, "; ".join((*problems, f"using the embedded model {ref}")))
                problems.append(f"{ref} lacks {lacks}")
        problem = f"No model was named, and none is at hand for {wanted}: {'; '.join(problems)}."
        if wanted.is_particular:
            raise InvalidRequestError(f"{problem} Name one that can, as in 'PROVIDER:MODEL'.")
        raise ConfigError(f"{problem} Name one, as in 'PROVIDER:MODEL', or set model (FARM_MODEL).")

    async def _at_hand(self, provider: str, wanted: Wanted) -> ModelInfo | str:
        """The best model of a provider that runs where the provider is; or why there is none, in words."""
        try:
            infos = await self._lists.get(provider, deadline_s=GLANCE_S, max_age_s=FRESH_S)
        except (ProviderConnectionError, ProviderTimeoutError):
            return f"no {provider} answers at {self._address(provider)}"
        except FarmError as error:
            return f"{provider} does not list its models ({briefly(error)})"
        here = [info for info in infos if info.available and not _is_stub(info)]
        fit = [info for info in here if not wanted.lacking(info)]
        if not fit:
            return f"{provider} has no model for {wanted}"
        best = min(fit, key=self._rank)
        ailment = self._ailment(best.ref)
        return best if ailment is None else f"{best.ref} is not well ({ailment.rstrip('.')})"

    async def _holder(self, model: str) -> Pick:
        """A named model of whichever provider lists it, else of the last one: it knows what is missing."""
        providers = [name for name in _providers() if is_enabled(name, self._config)]
        if not providers:
            raise disabled_provider(next(_providers()), self._config)
        for provider in providers[:-1]:
            try:
                infos = await self._lists.get(provider, deadline_s=GLANCE_S, max_age_s=FRESH_S)
            except FarmError:
                continue
            if any(info.ref.model == model for info in infos):
                return Pick(ModelRef(provider, model), f"{provider} has a model of that name")
        return Pick(ModelRef(providers[-1], model), f"a name without a provider is one of {providers[-1]}")

    async def _lacking(self, ref: ModelRef, wanted: Wanted) -> str:
        if not wanted.is_particular:
            return ""
        try:
            infos = await self._lists.get(ref.provider, deadline_s=ASK_S)
        except FarmError:
            return ""
        return next((wanted.lacking(info) for info in infos if info.ref == ref), "")

    def _rank(self, info: ModelInfo) -> tuple[bool, bool, bool, bool]:
        """Smallest first. What nobody named is sent elsewhere only where there is nothing here."""
        is_ill = self._ailment(info.ref) is not None
        return is_ill, _is_stub(info), not info.loaded, not info.available

    def _remembered(self, where: str, wanted: Wanted) -> Pick | None:
        """What was picked before, as long as it is well; a long prompt looks for a window of its own."""
        if wanted.context_tokens is not None:
            return None
        pick = self._picked.get((where, wanted.needs))
        return pick if pick is not None and self._ailment(pick.ref) is None else None

    def _remember(self, where: str, wanted: Wanted, pick: Pick) -> Pick:
        if wanted.context_tokens is None:
            self._picked[where, wanted.needs] = pick
        return pick

    def _address(self, provider: str) -> str:
        from farm_notebook.providers.http import public_url  # with it comes an HTTP client

        section = self._config.section(provider)
        return public_url(str(getattr(section, "url", None) or getattr(section, "base_url", provider)))


def _providers() -> Iterator[str]:
    return (place.partition(":")[0] for place in AUTO_ORDER)


def _is_stub(info: ModelInfo) -> bool:
    return info.size_bytes is not None and info.size_bytes < STUB_BYTES


def _roomiest(infos: Sequence[ModelInfo], wanted: Wanted) -> list[ModelInfo]:
    """The model with the most room, where only an estimate says that none has enough: it counts itself."""
    fit = [info for info in infos if not wanted.lacking(info)]
    return sorted(fit, key=lambda info: info.context_tokens or 0, reverse=True)[:1]


def _nothing_fits(provider: str, wanted: Wanted, lacking: dict[ModelRef, str]) -> FarmError:
    if not lacking:
        return ModelNotFoundError(
            f"{provider} lists no models. Name one of its models, as in '{provider}:MODEL', or set its "
            "default_model."
        )
    each = "; ".join(f"{ref} lacks {lacks}" for ref, lacks in lacking.items())
    return InvalidRequestError(f"No model of {provider} can take this request (it needs {wanted}): {each}.")
