"""What an answer costs, in US dollars: by the settings, else by the published prices in genai-prices.

That package is data of one day and asks nobody. Importing it takes a tenth of a second, so a thread does it
when the first model is asked that may have a price; models that run here need none.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from farm_notebook.config import FarmConfig, PriceConfig
from farm_notebook.types import ModelRef, Usage

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

__all__ = ["Prices"]

MILLION = 1_000_000
_OF_TEXT = {
    "input_mtok",
    "output_mtok",
    "requests_kcount",
}  # without any of these it is a price of something else


@dataclass(frozen=True, slots=True)
class _Rates:
    """US dollars a token, and what a request costs beside its tokens."""

    input: float
    cached: float
    output: float
    reasoning: float
    request: float = 0.0

    def cost(self, usage: Usage) -> float | None:
        """Of an answer; ``None`` where a count is missing that matters."""
        total = self.request
        if usage.input_tokens is not None:
            cached = min(usage.cached_tokens or 0, usage.input_tokens)
            total += (usage.input_tokens - cached) * self.input + cached * self.cached
        elif self.input or self.cached:
            return None
        if usage.output_tokens is not None:
            reasoning = min(usage.reasoning_tokens or 0, usage.output_tokens)
            total += (usage.output_tokens - reasoning) * self.output + reasoning * self.reasoning
        elif self.output or self.reasoning:
            return None
        return total


@dataclass(frozen=True, slots=True)
class _Steps:
    """A published price that is no plain rate: it depends on the length of the prompt, or on the time."""

    model: ModelInfo
    provider: Provider

    def cost(self, usage: Usage) -> float | None:
        """As of ``_Rates``."""
        if usage.input_tokens is None or usage.output_tokens is None:
            return None
        return _published(self.model, self.provider, usage)


class Prices:
    """The prices of one configuration.

    Args:
        config: Its ``prices`` come first; the addresses of its endpoints tell whose published prices hold.
        is_local: Whether a model runs on this machine, and so costs nothing. It must not raise.
    """

    def __init__(self, config: FarmConfig, is_local: Callable[[ModelRef], bool]) -> None:
        self._config = config
        self._is_local = is_local
        self._set = {name: _of_settings(price) for name, price in config.prices.items()}
        self._known: dict[ModelRef, _Rates | _Steps | None] = {}
        self._importing: threading.Thread | None = None

    def prepare(self, ref: ModelRef) -> None:
        """Have a thread bring in the published prices, where this model may need them; waits for nothing."""
        if self._importing is None and ref not in self._known and self._needs_published(ref):
            importing = threading.Thread(target=_bring, name="farm-prices", daemon=True)
            with contextlib.suppress(RuntimeError):  # the interpreter is on its way out
                importing.start()
                self._importing = importing

    async def ready(self, ref: ModelRef) -> None:
        """Wait until ``cost`` of this model takes no time; as a rule it does not."""
        self.prepare(ref)
        if self._importing is not None and self._importing.is_alive():
            await asyncio.to_thread(self._importing.join)

    def cost(self, ref: ModelRef, usage: Usage) -> float | None:
        """What an answer cost.

        Args:
            ref: The model that gave it.
            usage: Its tokens. ``cached_tokens`` are a part of the input, ``reasoning_tokens`` of the output.

        Returns:
            US dollars; 0 for a model that runs here; ``None``, and never 0, where the price is not known,
            or a count that it needs.
        """
        if ref not in self._known:
            self._known[ref] = self._find(ref)
        price = self._known[ref]
        return None if price is None else price.cost(usage)

    def _find(self, ref: ModelRef) -> _Rates | _Steps | None:
        if (found := self._set.get(str(ref)) or self._set.get(ref.provider)) is not None:
            return found
        return _Rates(0.0, 0.0, 0.0, 0.0) if self._is_local(ref) else self._find_published(ref)

    def _find_published(self, ref: ModelRef) -> _Rates | _Steps | None:
        """The price in genai-prices: by the address that is asked, else by the very name of a provider."""
        from genai_prices.data_snapshot import get_snapshot

        snapshot = get_snapshot()
        url = getattr(self._config.section(ref.provider), "base_url", None)
        asked: list[tuple[str | None, str | None]] = [(None, url)] if url else []
        if url is None or not _is_near(url):  # a gateway; but whatever runs nearby is nobody's service
            asked += [(ref.provider, None)] if any(ref.provider == p.id for p in snapshot.providers) else []
        for name, address in asked:
            with contextlib.suppress(LookupError):
                provider, model = snapshot.find_provider_model(ref.model, None, name, address)
                return _of_published(model, provider)
        return None

    def _needs_published(self, ref: ModelRef) -> bool:
        return str(ref) not in self._set and ref.provider not in self._set and not self._is_local(ref)


def _bring() -> None:
    """Import the prices, and build what is built at their first use."""
    from genai_prices.data_snapshot import get_snapshot

    get_snapshot()


def _of_settings(price: PriceConfig) -> _Rates:
    cached = price.input if price.cached_input is None else price.cached_input
    return _Rates(
        input=price.input / MILLION,
        cached=cached / MILLION,
        output=price.output / MILLION,
        reasoning=price.output / MILLION,
    )


def _of_published(model: ModelInfo, provider: Provider) -> _Rates | _Steps | None:
    """Rates, where the price is that simple: the package takes 70 µs for what they say in one."""
    from genai_prices.types import ModelPrice, TieredPrices

    steps = _Steps(model, provider)
    if not isinstance(model.prices, ModelPrice):
        return steps
    listed: Mapping[str, Any] = {
        name: value for name, value in vars(model.prices).items() if value is not None
    }
    if not listed.keys() & _OF_TEXT:
        return None
    if any(isinstance(value, TieredPrices) for value in listed.values()):
        return steps
    request = _published(model, provider, Usage(0, 0))
    rate = {
        name: (_published(model, provider, usage) - request) / MILLION
        for name, usage in {
            "input": Usage(MILLION, 0),
            "cached": Usage(MILLION, 0, cached_tokens=MILLION),
            "output": Usage(0, MILLION),
            "reasoning": Usage(0, MILLION, reasoning_tokens=MILLION),
        }.items()
    }
    return _Rates(request=request, **rate)


def _published(model: ModelInfo, provider: Provider, usage: Usage) -> float:
    from genai_prices import Usage as Counts

    counts: dict[str, int] = {
        "input_tokens": usage.input_tokens or 0,
        "output_tokens": usage.output_tokens or 0,
    }
    counts["cache_read_tokens"] = min(usage.cached_tokens or 0, counts["input_tokens"])
    counts["output_reasoning_tokens"] = min(usage.reasoning_tokens or 0, counts["output_tokens"])
    return float(model.calc_price(Counts(**counts), provider).total_price)


def _is_near(url: str) -> bool:
    """Whether an address is this machine's, or one of a network that only this house has."""
    host = urlsplit(url).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".localhost", ".internal", ".lan"))
