"""Everything that can be set, as one frozen object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import platformdirs
from pydantic import AfterValidator, BaseModel, Field

from farm_notebook.config.policies import (
    BreakerConfig,
    BudgetConfig,
    CacheConfig,
    CassetteConfig,
    DisplayConfig,
    FallbackConfig,
    HealthConfig,
    HistoryConfig,
    LimitsConfig,
    ModelsConfig,
    PriceConfig,
    RedisConfig,
    RetryConfig,
    TelemetryConfig,
    TimeoutConfig,
)
from farm_notebook.config.providers import (
    EndpointConfig,
    HuggingFaceConfig,
    LlamaCppConfig,
    OllamaConfig,
    OpenAIConfig,
)
from farm_notebook.config.routing import AliasConfig
from farm_notebook.config.values import Section

__all__ = ["AUTO", "EMBEDDED_MODEL", "ENV_PREFIX", "FarmConfig"]

AUTO = "auto"
EMBEDDED_MODEL = "llamacpp:smollm2:135m"
ENV_PREFIX = "FARM_"
_TAKEN = ("scripted", AUTO)  # names of providers that have no section here
# What a provider may look at. The environment is among it, because keys may stand in its own .env file.
_FOR_PROVIDERS = frozenset(
    (
        "environment",
        "cache_dir",
        "offline",
        "timeouts",
        "llamacpp",
        "ollama",
        "openai",
        "huggingface",
        "endpoints",
    )
)


def _as_endpoint_name(name: str) -> str:
    """A name that can stand before the ``:`` of a model ref, and is not another provider's."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise ValueError("a name has small letters, digits, '_' and '-' only, and begins with a letter")
    if name in FarmConfig.model_fields or name in _TAKEN:
        raise ValueError("that name is taken by a setting or by another provider")
    return name


def _as_alias(name: str) -> str:
    """A name that no model ref can be taken for."""
    if not re.fullmatch(r"[A-Za-z_][\w.-]*", name):
        raise ValueError("a name has letters, digits, '_', '.' and '-' only, and begins with a letter")
    if name == AUTO:
        raise ValueError(f"{AUTO!r} is the name for whatever model is at hand")
    return name


_EndpointName = Annotated[str, AfterValidator(_as_endpoint_name)]
_AliasName = Annotated[str, AfterValidator(_as_alias)]


class FarmConfig(Section):
    """Everything that can be set. This only holds it; ``load_config`` reads it from where it is set.

    Args:
        environment: Where this runs: ``development``, ``staging``, ``production``, or a name of your own.
        model: The model or alias that answers when none is named and ``routing`` names none here;
            ``auto`` is a model of a reachable Ollama, else the embedded one.
        routing: The model or alias that answers when none is named, by environment.
        aliases: What names stand for.
        prices: Of models, by ref or by provider; stronger than what is published of them.
        seed: Of requests that name none, where the provider takes one.
        cache_dir: Where fetched models, digests, kept answers and the history are.
        offline: Never fetch anything; a missing model is an error.
        endpoints: Further servers of OpenAI's protocol; each name is a provider's, as in ``groq:MODEL``.
    """

    environment: str = Field(default="development", pattern=r"^[\w.-]+$")
    model: str = Field(default=AUTO, min_length=1)
    routing: Mapping[str, str] = Field(default_factory=dict)
    aliases: Mapping[_AliasName, AliasConfig] = Field(default_factory=dict)
    seed: int | None = Field(default=None, ge=0)
    cache_dir: Path = Field(
        default_factory=lambda: platformdirs.user_cache_path("farm-notebook", appauthor=False)
    )
    offline: bool = False
    models: ModelsConfig = ModelsConfig()
    llamacpp: LlamaCppConfig = LlamaCppConfig()
    timeouts: TimeoutConfig = TimeoutConfig()
    retry: RetryConfig = RetryConfig()
    fallback: FallbackConfig = FallbackConfig()
    breaker: BreakerConfig = BreakerConfig()
    limits: LimitsConfig = LimitsConfig()
    budget: BudgetConfig = BudgetConfig()
    prices: Mapping[str, PriceConfig] = Field(default_factory=dict)
    redis: RedisConfig = RedisConfig()
    cache: CacheConfig = CacheConfig()
    cassette: CassetteConfig = CassetteConfig()
    history: HistoryConfig = HistoryConfig()
    health: HealthConfig = HealthConfig()
    telemetry: TelemetryConfig = TelemetryConfig()
    display: DisplayConfig = DisplayConfig()
    ollama: OllamaConfig = OllamaConfig()
    openai: OpenAIConfig = OpenAIConfig()
    huggingface: HuggingFaceConfig = HuggingFaceConfig()
    endpoints: Mapping[_EndpointName, EndpointConfig] = Field(default_factory=dict)

    @property
    def models_dir(self) -> Path:
        """The folder of fetched model files."""
        return self.cache_dir / "models"

    @property
    def answers_path(self) -> Path:
        """The file of kept answers."""
        return self.cache_dir / "answers-1.sqlite"  # a number a format, so that versions leave each other be

    @property
    def history_path(self) -> Path:
        """The file of calls."""
        return self.cache_dir / "history-1.sqlite"

    @property
    def ledger_path(self) -> Path:
        """The file in which the kernels of this machine count what they ask and spend."""
        return self.cache_dir / "ledger-1.sqlite"

    def for_providers(self) -> FarmConfig:
        """These settings with all that concerns no provider at its default.

        Farms for which this is equal can share providers, and so connections and loaded models.
        """
        fields = type(self).model_fields
        rest = {
            name: field.get_default(call_default_factory=True)
            for name, field in fields.items()
            if name not in _FOR_PROVIDERS
        }
        return self.model_copy(update=rest)

    def section(self, provider: str) -> BaseModel | None:
        """The settings of one provider or endpoint, where it has any."""
        found = self.endpoints.get(provider) or getattr(self, provider, None)
        return found if isinstance(found, BaseModel) else None
