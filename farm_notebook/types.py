"""The values that travel between the rooms: requests, stream events, model descriptions.

Everything here is frozen and knows nothing of providers, notebooks or networks. What a
caller keeps of an answer, the ``Reply``, stands in ``reply.py``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

__all__ = [
    "ChatMessage",
    "ChatRequest",
    "Embeddings",
    "Event",
    "FinishReason",
    "Finished",
    "LoadProgress",
    "LoadStage",
    "ModelInfo",
    "ModelRef",
    "PromptProgress",
    "ProviderStatus",
    "ReasoningDelta",
    "RequestKind",
    "Role",
    "Started",
    "TextDelta",
    "Timings",
    "Usage",
]

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "interrupted", "error"]
RequestKind = Literal["chat", "completion"]
LoadStage = Literal["fetch", "verify", "load"]

FINGERPRINT_VERSION = 1


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model's full name, ``provider:model``, e.g. ``llamacpp:smollm2:135m``."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}:{self.model}"


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One effective request: what is asked, of which model, with which sampling.

    Args:
        ref: The model that is asked.
        messages: The conversation, oldest first. A completion has exactly one message,
            whose content is the raw prompt (no chat template is applied).
        kind: ``chat`` or ``completion``.
        temperature: 0 (greedy) and up; ``None`` leaves the provider's default.
        top_p: Nucleus sampling, above 0 and at most 1.
        max_tokens: At least 1; ``None`` means until the model stops.
        seed: Makes sampling repeatable where the provider supports it.
        stop: Strings that end the answer; they are not part of it.
        schema: A JSON schema the answer must satisfy, or ``None``.
    """

    ref: ModelRef
    messages: tuple[ChatMessage, ...]
    kind: RequestKind = "chat"
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None

    def parameters(self) -> dict[str, Any]:
        """The sampling parameters that were set, by name; what was left to the provider is absent."""
        names = ("temperature", "top_p", "max_tokens", "seed", "stop", "schema")
        values = {name: getattr(self, name) for name in names}
        values["stop"] = list(self.stop) or None
        return {name: value for name, value in values.items() if value is not None}

    def fingerprint(self, digest: str | None = None) -> str:
        """SHA-256 of the canonical request, its model's digest included.

        Every field counts, so that a new one changes the fingerprint unless it is left out on purpose.

        Args:
            digest: The model's revision or file digest, where known.

        Returns:
            64 hexadecimal digits.
        """
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields |= {
            "ref": str(self.ref),
            "messages": [dataclasses.asdict(message) for message in self.messages],
            "digest": digest,
            "fingerprint_version": FINGERPRINT_VERSION,
        }
        canonical = json.dumps(
            fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=dict
        )
        return hashlib.sha256(canonical.encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens counted by the provider; ``None`` where it did not say, never a guessed 0."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """Wall-clock seconds of one request, measured where the caller waits.

    Args:
        load_s: Fetching and loading the model before the request was sent.
        first_token_s: From sending the request to its first text or reasoning.
        total_s: From the call to the last event, loading included.
        tokens_per_s: Output tokens after the first, over the time after the first.
    """

    load_s: float = 0.0
    first_token_s: float | None = None
    total_s: float = 0.0
    tokens_per_s: float | None = None


# Stream events. A stream is LoadProgress*, Started, PromptProgress*,
# (TextDelta | ReasoningDelta)*, Finished; one that ends without Finished did not succeed.


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """How far a model is on its way into memory; ``total`` is ``None`` where unknown."""

    stage: LoadStage
    completed_bytes: int
    total_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The provider took the request. Not yet a commitment: nothing was said."""

    ref: ModelRef
    cached: bool = False


@dataclass(frozen=True, slots=True)
class PromptProgress:
    """How many of the prompt's tokens the model has read."""

    processed_tokens: int
    total_tokens: int


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """The next piece of the model's thinking, kept apart from the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The provider's own finish mark."""

    reason: FinishReason
    usage: Usage = Usage()
    timings: Timings = Timings()


Event: TypeAlias = LoadProgress | Started | PromptProgress | TextDelta | ReasoningDelta | Finished


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector a text, in the order asked.

    Args:
        vectors: ``len(texts)`` rows of the model's embedding width, each of unit L2 norm.
        ref: The model that made them.
        usage: Input tokens.
    """

    vectors: tuple[tuple[float, ...], ...]
    ref: ModelRef
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a provider says of one of its models; ``None`` where it does not say.

    ``available`` models answer without a fetch, ``loaded`` ones at once; ``location`` is the file of a
    model that is on this machine.
    """

    ref: ModelRef
    size_bytes: int | None = None
    context_tokens: int | None = None
    digest: str | None = None
    license: str | None = None
    available: bool = False
    loaded: bool = False
    location: str | None = None
    description: str = ""


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """Whether a provider can answer now, in words a user can act on."""

    name: str
    healthy: bool
    detail: str
    fix: str | None = None
