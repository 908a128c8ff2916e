"""Settings: one frozen, validated object, read from arguments and ``FARM_*`` environment variables.

A nested setting is written with two underscores, e.g. ``FARM_LLAMACPP__THREADS=4``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import platformdirs
import psutil
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from farm_notebook.errors import ConfigError

__all__ = [
    "DEFAULT_MODEL",
    "DisplayConfig",
    "EndpointConfig",
    "FarmConfig",
    "HuggingFaceConfig",
    "LlamaCppConfig",
    "OllamaConfig",
    "OpenAIConfig",
    "TimeoutConfig",
    "load_config",
]

DEFAULT_MODEL = "llamacpp:smollm2:135m"
ENV_PREFIX = "FARM_"


def _default_threads() -> int:
    """All physical cores but one: the last one keeps the kernel and the front end responsive."""
    return max(1, (psutil.cpu_count(logical=False) or 1) - 1)


def _first_set(*variables: str) -> str | None:
    """The first of some variables, known from elsewhere, that holds something."""
    return next((value for name in variables if (value := os.environ.get(name, "").strip())), None)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LlamaCppConfig(_Section):
    """The embedded llama.cpp backend.

    Args:
        context_tokens: Context window; a model trained on less gets what it was trained on.
        threads: CPU threads for generation and for reading prompts.
        batch_tokens: Prompt tokens read between two looks at whether the caller is still there.
            Larger reads prompts faster and stops later.
        gpu_layers: Layers to put on a GPU; -1 is as many as fit.
        max_tokens: Longest answer where a request does not say; small models may otherwise go round in
            circles until the context window is full.
        start_timeout_s: How long a model may take to load.
    """

    context_tokens: int = Field(default=8192, ge=64)
    threads: int = Field(default_factory=_default_threads, ge=1, le=512)
    batch_tokens: int = Field(default=16, ge=1, le=4096)
    gpu_layers: int = Field(default=-1, ge=-1)
    max_tokens: int = Field(default=2048, ge=1)
    start_timeout_s: float = Field(default=300.0, gt=0)


class OllamaConfig(_Section):
    """An Ollama server.

    Args:
        url: Where it listens; from ``OLLAMA_URL`` or ``OLLAMA_HOST`` where they are set.
        keep_alive: How long a model stays in its memory after an answer, as Ollama writes it (``5m``,
            ``-1`` for ever); ``None`` leaves it to the server.
        context_tokens: Context window (``num_ctx``); ``None`` leaves it to the model.
        auto_start: Start the server where none answers and the URL is this machine's.
        auto_pull: Fetch a missing model when it is asked for.
        pull: Models to bring here as soon as a server was started.
        start_timeout_s: How long a server may take to answer after its start.
    """

    url: str = Field(
        default_factory=lambda: _first_set("OLLAMA_URL", "OLLAMA_HOST") or "http://localhost:11434"
    )
    keep_alive: str | None = None
    context_tokens: int | None = Field(default=None, ge=64)
    auto_start: bool = False
    auto_pull: bool = False
    pull: tuple[str, ...] = ()
    start_timeout_s: float = Field(default=60.0, gt=0)


class EndpointConfig(_Section):
    """A server that speaks OpenAI's protocol: a cloud, a gateway, vLLM, LM Studio, llama.cpp, ...

    Args:
        base_url: Up to and including ``/v1``, or what stands in its place.
        api_key_env: The variable that holds the key, read for each request; ``None`` sends none.
        api_key_header: What carries the key; ``Authorization`` as a bearer token, any other as it is.
        organization: Sent as ``OpenAI-Organization``.
        project: Sent as ``OpenAI-Project``.
        headers: Further headers, none of them secret.
        query: Further URL parameters, as ``api-version`` for Azure-style gateways.
        api: Which of the two interfaces answers a chat.
        has_completions: Whether there is a ``/completions`` for raw prompts; ``None`` tries it, and falls
            back to a chat where there is none.
    """

    base_url: str
    api_key_env: str | None = None
    api_key_header: str = "Authorization"
    organization: str | None = None
    project: str | None = None
    headers: Mapping[str, str] = Field(default_factory=dict)
    query: Mapping[str, str] = Field(default_factory=dict)
    api: Literal["chat", "responses"] = "chat"
    has_completions: bool | None = None


class OpenAIConfig(EndpointConfig):
    """OpenAI itself, or what ``OPENAI_BASE_URL`` names."""

    base_url: str = Field(
        default_factory=lambda: _first_set("OPENAI_BASE_URL") or "https://api.openai.com/v1"
    )
    api_key_env: str | None = "OPENAI_API_KEY"
    organization: str | None = Field(default_factory=lambda: _first_set("OPENAI_ORG_ID"))
    project: str | None = Field(default_factory=lambda: _first_set("OPENAI_PROJECT_ID"))


class HuggingFaceConfig(_Section):
    """Models of transformers, in the kernel's own process.

    Args:
        device: ``auto`` takes an accelerator where there is one; else as torch names it.
        dtype: ``auto`` is what the checkpoint holds; else as torch names it.
        quantization: Keyword arguments of transformers' quantisation configurations, with their
            ``quant_method``; ``None`` loads the weights as they are.
        trust_remote_code: Models whose own code may run here, by name.
        pickled_weights: Models whose weights may be unpickled, which runs code in them, by name.
        revision: Branch, tag or commit on the hub; ``None`` is its default.
        max_tokens: Longest answer where a request does not say.
        batching: Answer concurrent requests together; ``None`` does where the device gains from it.
        max_batch: Most requests answered together.
    """

    device: str = "auto"
    dtype: str = "auto"
    quantization: Mapping[str, Any] | None = None
    trust_remote_code: frozenset[str] = frozenset()
    pickled_weights: frozenset[str] = frozenset()
    revision: str | None = None
    max_tokens: int = Field(default=2048, ge=1)
    batching: bool | None = None
    max_batch: int = Field(default=16, ge=1)


class TimeoutConfig(_Section):
    """The timers of one request, in seconds; ``None`` waits for ever. Loading a model is exempt.

    Args:
        connect_s: Until the provider accepts the connection.
        first_event_s: From sending to the first sign of life.
        idle_s: Between two events of a stream.
        total_s: For the whole answer.
    """

    connect_s: float | None = Field(default=10.0, gt=0)
    first_event_s: float | None = Field(default=300.0, gt=0)
    idle_s: float | None = Field(default=120.0, gt=0)
    total_s: float | None = Field(default=None, gt=0)


class DisplayConfig(_Section):
    """How answers appear in a notebook.

    Args:
        live: Repaint while the answer streams; off shows it once, complete.
        repaint_s: Seconds between two repaints.
    """

    live: bool = True
    repaint_s: float = Field(default=0.15, ge=0.02, le=2.0)


class FarmConfig(BaseSettings):
    """Everything that can be set.

    Args:
        model: The model that answers when none is named.
        cache_dir: Where fetched models and digests are kept.
        offline: Never fetch anything; a missing model is an error.
        endpoints: Further servers of OpenAI's protocol; each name is a provider's, as in ``groq:MODEL``.
    """

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_prefix=ENV_PREFIX, env_nested_delimiter="__"
    )

    model: str = Field(default=DEFAULT_MODEL, min_length=1)
    cache_dir: Path = Field(
        default_factory=lambda: platformdirs.user_cache_path("farm-notebook", appauthor=False)
    )
    offline: bool = False
    llamacpp: LlamaCppConfig = LlamaCppConfig()
    timeouts: TimeoutConfig = TimeoutConfig()
    display: DisplayConfig = DisplayConfig()
    ollama: OllamaConfig = Field(default_factory=OllamaConfig)
    openai: OpenAIConfig = Field(default_factory=OpenAIConfig)
    huggingface: HuggingFaceConfig = HuggingFaceConfig()
    endpoints: Mapping[str, EndpointConfig] = Field(default_factory=dict)

    @property
    def models_dir(self) -> Path:
        """The folder of fetched model files."""
        return self.cache_dir / "models"


def load_config(overrides: Mapping[str, Any] | None = None) -> FarmConfig:
    """Read the settings; ``overrides`` win over the environment.

    Raises:
        ConfigError: Naming each bad setting, its value and what is valid.
    """
    overrides = dict(overrides or {})
    unknown = sorted(set(overrides) - set(FarmConfig.model_fields))
    if unknown:
        raise ConfigError(
            f"Unknown setting {unknown[0]!r}. Valid settings: {', '.join(sorted(FarmConfig.model_fields))}."
        )
    try:
        return FarmConfig(**overrides)
    except ValidationError as error:
        raise ConfigError(_explain(error, overrides)) from None
    except SettingsError:
        raise ConfigError(_explain_sections()) from None


def _explain_sections() -> str:
    """One sentence for each variable that should hold a whole section as JSON, and does not."""
    sentences = []
    for name, field in FarmConfig.model_fields.items():
        section, variable = field.annotation, f"{ENV_PREFIX}{name.upper()}"
        if isinstance(section, type) and issubclass(section, _Section) and (text := os.environ.get(variable)):
            example = next(iter(section.model_fields)).upper()
            sentences.append(
                f"{variable}={text!r} is not valid: it takes a JSON object; or set one setting, as in "
                f"{variable}__{example}."
            )
    return " ".join(sentences)


def _explain(error: ValidationError, overrides: Mapping[str, Any]) -> str:
    """One sentence for each bad setting: where it was set, what it was, what is wrong with it."""
    sentences = []
    for problem in error.errors():
        path = [str(part) for part in problem["loc"]]
        variable = ENV_PREFIX + "__".join(path).upper()
        in_environment = path[0] not in overrides and variable in {name.upper() for name in os.environ}
        source = variable if in_environment else ".".join(path)
        sentences.append(f"{source}={problem['input']!r} is not valid: {problem['msg']}.")
    return " ".join(sentences)
