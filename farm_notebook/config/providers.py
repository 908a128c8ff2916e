"""Settings of the providers, a section each."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import psutil
from pydantic import AfterValidator, Field

from farm_notebook.config.masking import masked
from farm_notebook.config.values import BaseURL, OrNone, Section, Variable, as_duration

__all__ = ["EndpointConfig", "HuggingFaceConfig", "LlamaCppConfig", "OllamaConfig", "OpenAIConfig"]


@functools.cache  # as the system is asked by reading files
def _default_threads() -> int:
    """All physical cores but one: the last one keeps the kernel and the front end responsive."""
    return max(1, (psutil.cpu_count(logical=False) or 1) - 1)


class LlamaCppConfig(Section):
    """The embedded llama.cpp backend.

    Args:
        enabled: Whether it may be used at all.
        default_model: The model that answers where only the provider is named.
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

    enabled: bool = True
    default_model: str | None = "smollm2:135m"
    context_tokens: int = Field(default=8192, ge=64)
    threads: int = Field(default_factory=_default_threads, ge=1, le=512)
    batch_tokens: int = Field(default=16, ge=1, le=4096)
    gpu_layers: int = Field(default=-1, ge=-1)
    parallel: int = Field(default=4, ge=1, le=64)
    projectors: Mapping[str, Annotated[Path | None, OrNone]] = Field(default_factory=dict)
    max_tokens: int = Field(default=2048, ge=1)
    start_timeout_s: float = Field(default=300.0, gt=0)


class OllamaConfig(Section):
    """An Ollama server.

    Args:
        enabled: Whether it may be used at all.
        default_model: The model that answers where only the provider is named; ``None`` is the first it has.
        url: Where it listens; ``OLLAMA_URL`` and ``OLLAMA_HOST`` set it too.
        api_key_env: The variable that holds the key of a server that wants one, read for each request.
        keep_alive: How long a model stays in its memory after an answer, as Ollama writes it (``5m``,
            ``300`` seconds, ``-1`` for ever); ``None`` leaves it to the server.
        context_tokens: Context window (``num_ctx``); ``None`` leaves it to the model.
        auto_start: Start the server where none answers and the URL is this machine's.
        auto_pull: Fetch a missing model when it is asked for.
        pull: Models to bring here as soon as a server was started.
        start_timeout_s: How long a server may take to answer after its start.
    """

    enabled: bool = True
    default_model: str | None = None
    url: str = "http://localhost:11434"
    api_key_env: Variable | None = "OLLAMA_API_KEY"
    keep_alive: Annotated[str, AfterValidator(as_duration)] | None = None
    context_tokens: int | None = Field(default=None, ge=64)
    auto_start: bool = False
    auto_pull: bool = False
    pull: tuple[str, ...] = ()
    start_timeout_s: float = Field(default=60.0, gt=0)


Ignorable: TypeAlias = Literal[
    "temperature",
    "top_p",
    "max_tokens",
    "seed",
    "stop",
    "logprobs",
    "schema",
    "tools",
    "tool_choice",
    "reasoning",
    "images",
]


class EndpointConfig(Section):
    """A server that speaks OpenAI's protocol: a cloud, a gateway, vLLM, LM Studio, llama.cpp, ...

    Args:
        enabled: Whether it may be used at all.
        default_model: The model that answers where only the provider is named.
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
        lacks: What the server would take and ignore, so that a request with it is refused here.
    """

    enabled: bool = True
    default_model: str | None = None
    base_url: BaseURL
    api_key_env: Variable | None = None
    api_key_header: str = "Authorization"
    organization: str | None = None
    project: str | None = None
    headers: Mapping[str, str] = Field(default_factory=dict)
    query: Mapping[str, str] = Field(default_factory=dict)
    api: Literal["chat", "responses"] = "chat"
    has_completions: bool | None = None
    lacks: frozenset[Ignorable] = frozenset()

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """What its ``repr`` says: of headers and parameters only their names."""
        for name, value in super().__repr_args__():
            yield name, masked((str(name),), value)


class OpenAIConfig(EndpointConfig):
    """OpenAI itself. ``OPENAI_BASE_URL``, ``OPENAI_ORG_ID`` and ``OPENAI_PROJECT_ID`` set it too."""

    base_url: BaseURL = "https://api.openai.com/v1"
    api_key_env: Variable | None = "OPENAI_API_KEY"


class HuggingFaceConfig(Section):
    """Models of transformers, in the kernel's own process.

    Args:
        enabled: Whether it may be used at all.
        default_model: The model that answers where only the provider is named.
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

    enabled: bool = True
    default_model: str | None = None
    device: str = "auto"
    dtype: str = "auto"
    quantization: Mapping[str, Any] | None = None
    trust_remote_code: frozenset[str] = frozenset()
    pickled_weights: frozenset[str] = frozenset()
    revision: str | None = None
    max_tokens: int = Field(default=2048, ge=1)
    batching: bool | None = None
    max_batch: int = Field(default=16, ge=1)
