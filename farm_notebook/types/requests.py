"""One effective request: what is asked, of which model, and what tells it from all others."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal

from farm_notebook.types.messages import ChatMessage, Tool
from farm_notebook.types.models import Capability, ModelRef

__all__ = [
    "FINGERPRINT_VERSION",
    "NOT_IN_FINGERPRINT",
    "PARAMETERS",
    "Balance",
    "CacheUse",
    "ChatRequest",
    "Deployment",
    "ReasoningEffort",
    "RequestKind",
    "Route",
]

RequestKind = Literal["chat", "completion", "embedding"]
ReasoningEffort = Literal["off", "on", "low", "medium", "high"]
CacheUse = Literal["use", "refresh", "off"]
Balance = Literal["weighted", "least_busy"]

FINGERPRINT_VERSION = 3
NOT_IN_FINGERPRINT = ("cache", "route", "_fingerprints")
_NOT_WHERE_UNSET = ("logprobs",)  # newer than the version: what was kept before is found still
_CANONICAL_JSON = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=dict)
PARAMETERS = (
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
    "extra",
)


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
        kind: ``chat``, ``completion``, or ``embedding``, whose texts are the messages; that passes the
            policies only, and no provider's ``stream``.
        temperature: 0 (greedy) and up; ``None`` leaves the provider's default.
        top_p: Nucleus sampling, above 0 and at most 1.
        max_tokens: At least 1; ``None`` means until the model stops.
        seed: Makes sampling repeatable where the provider supports it.
        stop: Strings that end the answer; they are not part of it.
        logprobs: Have the likelihood of each token told, and of as many of the likeliest in its place: 0 to
            20. ``None`` tells of none.
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
    logprobs: int | None = None
    schema: Mapping[str, Any] | None = None
    tools: tuple[Tool, ...] = ()
    tool_choice: str | None = None
    reasoning: ReasoningEffort | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    sample: int | None = None
    cache: CacheUse = "use"
    route: Route = Route()
    _fingerprints: dict[str | None, str] = field(default_factory=dict, init=False, repr=False, compare=False)

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
        if digest not in self._fingerprints:  # the cache asks for it, and the reply tells it
            self._fingerprints[digest] = self._made_fingerprint(digest)
        return self._fingerprints[digest]

    def _made_fingerprint(self, digest: str | None) -> str:
        fields = dict(zip(_FINGERPRINTED, _fingerprinted(self), strict=True))
        for name in _NOT_WHERE_UNSET:
            if fields[name] is None:
                del fields[name]
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
