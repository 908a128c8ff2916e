"""Settings: one frozen, validated object, and where it is read from.

A nested setting is written with two underscores in its variable's name, e.g. ``FARM_LLAMACPP__THREADS=4``.
"""

from __future__ import annotations

from farm_notebook.config.load import load_config
from farm_notebook.config.policies import (
    BreakerConfig,
    BudgetConfig,
    CacheConfig,
    CassetteConfig,
    DisplayConfig,
    FallbackConfig,
    HealthConfig,
    HistoryConfig,
    LimitConfig,
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
from farm_notebook.config.routing import AliasConfig, DeploymentConfig, ParametersConfig
from farm_notebook.config.settings import AUTO, EMBEDDED_MODEL, ENV_PREFIX, FarmConfig

__all__ = [
    "AUTO",
    "EMBEDDED_MODEL",
    "ENV_PREFIX",
    "AliasConfig",
    "BreakerConfig",
    "BudgetConfig",
    "CacheConfig",
    "CassetteConfig",
    "DeploymentConfig",
    "DisplayConfig",
    "EndpointConfig",
    "FallbackConfig",
    "FarmConfig",
    "HealthConfig",
    "HistoryConfig",
    "HuggingFaceConfig",
    "LimitConfig",
    "LimitsConfig",
    "LlamaCppConfig",
    "ModelsConfig",
    "OllamaConfig",
    "OpenAIConfig",
    "ParametersConfig",
    "PriceConfig",
    "RedisConfig",
    "RetryConfig",
    "TelemetryConfig",
    "TimeoutConfig",
    "load_config",
]
