"""The values that travel between the rooms: requests, stream events, model descriptions.

Everything here is frozen and knows nothing of providers, notebooks or networks. What a
caller keeps of an answer, the ``Reply``, stands in ``reply.py``.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal, TypeAlias

__all__ = [
    "Balance",
    "CacheUse",
    "Capability",
    "ChatMessage",
    "ChatRequest",
    "Deployment",
    "Embeddings",
    "Event",
    "FinishReason",
    "Finished",
    "Image",
    "ImageType",
    "LoadProgress",
    "LoadStage",
    "ModelInfo",
    "ModelRef",
    "PromptProgress",
    "ProviderStatus",
    "Queued",
    "ReasoningDelta",
    "ReasoningEffort",
    "RequestKind",
    "Rerouted",
    "Retrying",
    "Role",
    "Route",
    "Routed",
    "Started",
    "TextDelta",
    "Timings",
    "Tool",
    "ToolCall",
    "Usage",
]

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "interrupted", "error"]
RequestKind = Literal["chat", "completion"]
LoadStage = Literal["fetch", "verify", "load"]
ReasoningEffort = Literal["off", "on", "low", "medium", "high"]
ImageType = Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
CacheUse = Literal["use", "refresh", "off"]
Balance = Literal["weighted", "least_busy"]
Capability = Literal["chat", "completion", "embedding", "tools", "vision", "reasoning"]

FINGERPRINT_VERSION = 3
NOT_IN_FINGERPRINT = ("cache", "route")
_CANONICAL_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=dict)
PARAMETERS = (
    "temperature",
    "top_p",
    "max_tokens",
    "seed",
    "stop",
    "schema",
    "tools",
    "tool_choice",
    "reasoning",
    "extra",
)


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model's full name, ``provider:model``, e.g. ``llamacpp:smollm2:135m``."""

    provider: str
    model: str

    def __str__(self) -> str:
        return f"{self.provider}:{self.model}"


@dataclass(frozen=True, slots=True, repr=False)
class Image:
    """A picture in a message: the bytes of its file. ``images.as_image`` makes one out of nearly anything."""

    data: bytes
    media_type: ImageType

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, 64 hexadecimal digits."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def base64(self) -> str:
        """The bytes as Base64 text."""
        return base64.b64encode(self.data).decode()

    @property
    def data_url(self) -> str:
        """The picture as a ``data:`` URL (RFC 2397)."""
        return f"data:{self.media_type};base64,{self.base64}"

    def __repr__(self) -> str:
        return f"Image({self.media_type!r}, {len(self.data):,} bytes, sha256={self.digest[:12]!r})"


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask to be called. ``tools.as_tool`` makes one out of a Python function.

    Args:
        name: Letters, digits, ``_`` and ``-``; at most 64.
        description: What it does and when to use it, for the model.
        parameters: A JSON schema of type ``object``.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a function to be called; also an event of the stream, once it is whole.

    Args:
        id: What the tool's answer refers to; unique within a conversation.
        name: Of the tool.
        arguments: JSON text as the model wrote it, which may be wrong.
    """

    id: str
    name: str
    arguments: str

    @property
    def parsed(self) -> dict[str, Any]:
        """The arguments by name.

        Raises:
            ValueError: The model wrote something that is no JSON object.
        """
        arguments = json.loads(self.arguments or "{}")
        if not isinstance(arguments, dict):
            raise ValueError(f"The arguments of {self.name} are no JSON object: {self.arguments!r}.")  # noqa: TRY004 - as json.loads
        return arguments


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One turn of a conversation.

    Args:
        role: Who speaks; a ``tool`` turn is the result of a call.
        content: The text; may be empty where there are images or tool calls.
        images: Pictures that stand before the text of a user's turn.
        tool_calls: What the assistant asked for in this turn.
        tool_call_id: The call that a ``tool`` turn answers.
    """

    role: Role
    content: str
    images: tuple[Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """One of several places that serve the same model.

    Args:
        ref: How it is asked there.
        weight: Its share of the requests, beside the weights of the others.
    """

    ref: ModelRef
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Route:
    """How the model of a request was found, and who else may answer it.

    Args:
        name: What the user wrote; empty where nothing was.
        reason: Why that is the model, in words for the user.
        deployments: Places of equal standing, one of which is chosen for each request.
        balance: How it is chosen: by weight alone, or where the fewest requests are under way.
        alternates: Models to ask in turn where the first says nothing but an error.
        needs: What a model must be able to do for this request.
        context_tokens: The smallest context window that will do; ``None`` where any will.
    """

    name: str = ""
    reason: str = ""
    deployments: tuple[Deployment, ...] = ()
    balance: Balance = "weighted"
    alternates: tuple[ModelRef, ...] = ()
    needs: frozenset[Capability] = frozenset()
    context_tokens: int | None = None


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
        tools: Functions the model may ask to be called.
        tool_choice: ``auto``, ``none``, ``required``, or the name of the one tool to call.
        reasoning: Whether, or how hard, a model that can think does so before it answers.
        extra: Parameters that only one provider knows, in its own words; they are sent as they are.
        sample: Which of several answers to one question this is. It is not sent; it tells kept answers apart,
            and makes those that are left to chance worth keeping.
        cache: Whether a kept answer may be given: ``refresh`` asks anew and keeps the answer, ``off`` does
            neither. It is about the call and not about the answer, so it is no part of the fingerprint.
        route: How ``ref`` was found and who may stand in for it; no part of the fingerprint either.
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
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    reasoning: ReasoningEffort | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    sample: int | None = None
    cache: CacheUse = "use"
    route: Route = Route()

    def parameters(self) -> dict[str, Any]:
        """The parameters that were set, by name, as JSON values; what was left to the provider is absent."""
        values = {name: getattr(self, name) for name in PARAMETERS}
        values |= {
            "stop": list(self.stop) or None,
            "schema": None if self.schema is None else dict(self.schema),  # an empty one asks for any JSON
            "tools": [_plain_tool(tool) for tool in self.tools] or None,
            "extra": dict(self.extra) or None,
        }
        return {name: value for name, value in values.items() if value is not None}

    def fingerprint(self, digest: str | None = None) -> str:
        """SHA-256 of the canonical request, its model's digest included.

        Every field counts, so that a new one changes the fingerprint unless it is left out on purpose.

        Args:
            digest: The model's revision or file digest, where known.

        Returns:
            64 hexadecimal digits.
        """
        fields = dict(zip(_FINGERPRINTED, _fingerprinted(self), strict=True))
        fields |= {
            "ref": str(self.ref),
            "messages": [_canonical(message) for message in self.messages],
            "tools": [_plain_tool(tool) for tool in self.tools],
            "digest": digest,
            "fingerprint_version": FINGERPRINT_VERSION,
        }
        canonical = _CANONICAL_JSON.encode(fields)
        return hashlib.sha256(canonical.encode(errors="surrogatepass")).hexdigest()


_FINGERPRINTED = tuple(name for name in ChatRequest.__slots__ if name not in NOT_IN_FINGERPRINT)
_fingerprinted = attrgetter(*_FINGERPRINTED)


def _plain_tool(tool: Tool) -> dict[str, Any]:
    """A tool as JSON values; ``dataclasses.asdict`` fails on a mapping that is no ``dict``."""
    return {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}


def _canonical(message: ChatMessage) -> dict[str, Any]:
    """A message as JSON values, with the digests of its images in their place."""
    values = {name: getattr(message, name) for name in message.__slots__}
    values["images"] = [image.digest for image in message.images]
    values["tool_calls"] = [dataclasses.asdict(call) for call in message.tool_calls]
    return values


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens counted by the provider; ``None`` where it did not say, never a guessed 0.

    ``cached_tokens`` are a part of ``input_tokens``, ``reasoning_tokens`` of ``output_tokens``.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Timings:
    """Wall-clock seconds of one request, measured where the caller waits.

    Args:
        load_s: Fetching and loading the model before the request was sent.
        first_token_s: From sending the request to its first text or reasoning.
        total_s: From the call to the last event, loading included.
        tokens_per_s: Output tokens after the first, over the time after the first.
        queue_s: Waiting for a limit of ours before the request was sent.
    """

    load_s: float = 0.0
    first_token_s: float | None = None
    total_s: float = 0.0
    tokens_per_s: float | None = None
    queue_s: float = 0.0


# Stream events. A stream is (Routed | Queued | Rerouted | Retrying | LoadProgress)*, Started,
# (Queued | Rerouted | Retrying | PromptProgress | LoadProgress | Started)*,
# (TextDelta | ReasoningDelta | ToolCall)*, Finished; one that ends without Finished did not succeed.
# Where there is more than one Started, the last one tells who answers.


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
class Routed:
    """A model was chosen where the user named none, or one of several; told once a model and reason."""

    ref: ModelRef
    reason: str


@dataclass(frozen=True, slots=True)
class Queued:
    """The request waits, for about ``wait_s`` seconds, until a limit of ours lets it pass."""

    ref: ModelRef
    limit: str
    wait_s: float


@dataclass(frozen=True, slots=True)
class Rerouted:
    """``source`` could not answer because of ``problem``, so ``target`` is asked; nothing was said so far."""

    source: ModelRef
    target: ModelRef
    problem: str


@dataclass(frozen=True, slots=True)
class Retrying:
    """The model could not answer yet and is asked again after ``wait_s`` seconds; nothing was said so far."""

    ref: ModelRef
    problem: str
    wait_s: float


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
    cost: float | None = None  # US dollars; 0 for what was kept or runs here, None where no price is known


Event: TypeAlias = (
    LoadProgress
    | Routed
    | Queued
    | Started
    | Rerouted
    | Retrying
    | PromptProgress
    | TextDelta
    | ReasoningDelta
    | ToolCall
    | Finished
)


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

    ``available`` models answer without a fetch, ``loaded`` ones at once; ``location`` is the file or folder
    of a model that is on this machine.
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
    capabilities: frozenset[Capability] | None = None


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """Whether a provider can answer now, in words a user can act on."""

    name: str
    healthy: bool
    detail: str
    fix: str | None = None
