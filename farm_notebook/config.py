"""Settings: one frozen, validated object, read from arguments and ``FARM_*`` environment variables.

A nested setting is written with two underscores, e.g. ``FARM_LLAMACPP__THREADS=4``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import platformdirs
import psutil
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from farm_notebook.errors import ConfigError

__all__ = [
    "DEFAULT_MODEL",
    "CacheConfig",
    "DisplayConfig",
    "EndpointConfig",
    "FarmConfig",
    "HuggingFaceConfig",
    "LlamaCppConfig",
    "OllamaConfig",
    "OpenAIConfig",
    "RetryConfig",
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


def _as_variable(name: str) -> str:
    """The name of a variable, and not the key itself, which is what people write here at first."""
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
        raise ValueError(
            "it takes the name of an environment variable, in capitals as in 'GROQ_API_KEY', and not the key"
        )
    return name


def _as_base_url(url: str) -> str:
    """An address that paths can be put after."""
    example = "it takes an address as in 'http://localhost:8000/v1'"
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of the port; its words quote what stands there, which may be a password
        raise ValueError(example) from None
    if not is_address:
        raise ValueError(example)
    if "@" in parts.netloc:
        raise ValueError("no user and password in an address: a key belongs into a variable, see api_key_env")
    if parts.query or parts.fragment:
        raise ValueError("parameters of the address belong into the setting query")
    return url.rstrip("/")


def _as_endpoint_name(name: str) -> str:
    """A name that can stand before the ``:`` of a model ref, and is not another provider's."""
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise ValueError("a name has small letters, digits, '_' and '-' only, and begins with a letter")
    if name in FarmConfig.model_fields or name in _OTHER_PROVIDERS:
        raise ValueError("that name is taken by a setting or by another provider")
    return name


def _as_duration(text: str) -> str:
    """A time as Ollama writes it, which is how Go does."""
    if not re.fullmatch(r"-?(\d+(\.\d+)?|(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+)", text):
        raise ValueError("it takes a time as in '5m', '1h30m' or '300' (seconds), or '-1' for ever")
    return text


_OTHER_PROVIDERS = ("scripted",)  # those that have no section here
_BaseURL = Annotated[str, AfterValidator(_as_base_url)]
_Variable = Annotated[str, AfterValidator(_as_variable)]
_EndpointName = Annotated[str, AfterValidator(_as_endpoint_name)]


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
        parallel: Most requests that one model answers at once. They share the context window, which each
            may fill where the others leave room; one that does not fit waits.
        projectors: What lets a model see images: its ``mmproj`` file, by the model's name or path; ``None``
            uses none. Without an entry a single ``mmproj*.gguf`` beside a local file is used.
        max_tokens: Longest answer where a request does not say; small models may otherwise go round in
            circles until the context window is full.
        start_timeout_s: How long a model may take to load.
    """

    context_tokens: int = Field(default=8192, ge=64)
    threads: int = Field(default_factory=_default_threads, ge=1, le=512)
    batch_tokens: int = Field(default=16, ge=1, le=4096)
    gpu_layers: int = Field(default=-1, ge=-1)
    parallel: int = Field(default=4, ge=1, le=64)
    projectors: Mapping[str, Path | None] = Field(default_factory=dict)
    max_tokens: int = Field(default=2048, ge=1)
    start_timeout_s: float = Field(default=300.0, gt=0)


class OllamaConfig(_Section):
    """An Ollama server.

    Args:
        url: Where it listens; from ``OLLAMA_URL`` or ``OLLAMA_HOST`` where they are set.
        api_key_env: The variable that holds the key of a server that wants one, read for each request.
        keep_alive: How long a model stays in its memory after an answer, as Ollama writes it (``5m``,
            ``300`` seconds, ``-1`` for ever); ``None`` leaves it to the server.
        context_tokens: Context window (``num_ctx``); ``None`` leaves it to the model.
        auto_start: Start the server where none answers and the URL is this machine's.
        auto_pull: Fetch a missing model when it is asked for.
        pull: Models to bring here as soon as a server was started.
        start_timeout_s: How long a server may take to answer after its start.
    """

    url: str = Field(
        default_factory=lambda: _first_set("OLLAMA_URL", "OLLAMA_HOST") or "http://localhost:11434"
    )
    api_key_env: _Variable | None = "OLLAMA_API_KEY"
    keep_alive: Annotated[str, AfterValidator(_as_duration)] | None = None
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

    base_url: _BaseURL
    api_key_env: _Variable | None = None
    api_key_header: str = "Authorization"
    organization: str | None = None
    project: str | None = None
    headers: Mapping[str, str] = Field(default_factory=dict)
    query: Mapping[str, str] = Field(default_factory=dict)
    api: Literal["chat", "responses"] = "chat"
    has_completions: bool | None = None


class OpenAIConfig(EndpointConfig):
    """OpenAI itself, or what ``OPENAI_BASE_URL`` names."""

    base_url: _BaseURL = Field(
        default_factory=lambda: _first_set("OPENAI_BASE_URL") or "https://api.openai.com/v1"
    )
    api_key_env: _Variable | None = "OPENAI_API_KEY"
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


class RetryConfig(_Section):
    """Asking again where a provider was busy, broken or out of reach, and had said nothing.

    Args:
        attempts: In all; 1 never asks again.
        first_backoff_s: Longest wait before the second attempt; it doubles with each further one.
        longest_backoff_s: Where that ends.
        longest_wait_s: What a provider may ask to wait; asked for more, its error is raised at once.
    """

    attempts: int = Field(default=3, ge=1, le=20)
    first_backoff_s: float = Field(default=0.5, ge=0)
    longest_backoff_s: float = Field(default=20.0, ge=0)
    longest_wait_s: float = Field(default=120.0, ge=0)


class CacheConfig(_Section):
    """Answers that are kept, and given again to the same question. Only repeatable ones are: those at
    temperature 0 and those with a seed.

    Args:
        enabled: Whether any are kept and given.
        ttl_s: Seconds that an answer is kept.
        max_bytes: Of the file; the answers that were used longest ago make room.
    """

    enabled: bool = True
    ttl_s: float = Field(default=3600.0, gt=0)
    max_bytes: int = Field(default=500_000_000, ge=1_000_000)


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
    retry: RetryConfig = RetryConfig()
    cache: CacheConfig = CacheConfig()
    display: DisplayConfig = DisplayConfig()
    ollama: OllamaConfig = Field(default_factory=OllamaConfig)
    openai: OpenAIConfig = Field(default_factory=OpenAIConfig)
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

    def section(self, provider: str) -> BaseModel | None:
        """The settings of one provider or endpoint, where it has any."""
        found = self.endpoints.get(provider) or getattr(self, provider, None)
        return found if isinstance(found, BaseModel) else None


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
        if name == "endpoints" and os.environ.get(variable):
            sentences.append(
                f"{variable} is not valid: it takes a JSON object of endpoints by name; or set one setting "
                f"of one endpoint, as in {variable}__GROQ__BASE_URL."
            )
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
        path = [str(part) for part in problem["loc"] if part != "[key]"]
        variable = ENV_PREFIX + "__".join(path).upper()
        in_environment = path[0] not in overrides and variable in {name.upper() for name in os.environ}
        source = variable if in_environment else ".".join(path)
        what = source if _may_be_secret(path[-1], problem["input"]) else f"{source}={problem['input']!r}"
        words = problem["msg"].removeprefix("Value error, ")
        if path[-1] == "api_key":
            words = "a key is no setting; name the variable that holds it with api_key_env"
        sentences.append(f"{what} is not valid: {words}.")
    return " ".join(sentences)


def _may_be_secret(name: str, value: object) -> bool:
    """Whether a rejected value is better not shown: a key in the wrong place, or one in a URL."""
    is_named_so = re.search(r"key|token(?!s)|secret|passw|auth", name, re.IGNORECASE) is not None
    return (is_named_so and not isinstance(value, int | float)) or "@" in str(value)
