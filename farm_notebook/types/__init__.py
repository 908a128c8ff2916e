"""The values that travel between the rooms: requests, stream events, model descriptions.

Everything here is frozen and knows nothing of providers, notebooks or networks. What a
caller keeps of an answer, the ``Reply``, stands in ``reply.py``.
"""

from __future__ import annotations

from farm_notebook.types.devices import DeviceKind, DeviceStats, ModelShare
from farm_notebook.types.events import (
    Embeddings,
    Event,
    Finished,
    FinishReason,
    LoadProgress,
    LoadStage,
    PromptProgress,
    Queued,
    ReasoningDelta,
    Rerouted,
    Retrying,
    Routed,
    Started,
    TextDelta,
    Timings,
    TokenLogprob,
    Usage,
)
from farm_notebook.types.messages import ChatMessage, Image, ImageType, Role, Tool, ToolCall, ToolResult
from farm_notebook.types.models import (
    Capability,
    LoadOptions,
    ModelEvent,
    ModelInfo,
    ModelRef,
    ModelState,
    ModelStatus,
    ProviderStatus,
)
from farm_notebook.types.requests import (
    FINGERPRINT_VERSION,
    NOT_IN_FINGERPRINT,
    PARAMETERS,
    Balance,
    CacheUse,
    ChatRequest,
    Deployment,
    ReasoningEffort,
    RequestKind,
    Route,
)

__all__ = [
    "FINGERPRINT_VERSION",
    "NOT_IN_FINGERPRINT",
    "PARAMETERS",
    "Balance",
    "CacheUse",
    "Capability",
    "ChatMessage",
    "ChatRequest",
    "Deployment",
    "DeviceKind",
    "DeviceStats",
    "Embeddings",
    "Event",
    "FinishReason",
    "Finished",
    "Image",
    "ImageType",
    "LoadOptions",
    "LoadProgress",
    "LoadStage",
    "ModelEvent",
    "ModelInfo",
    "ModelRef",
    "ModelShare",
    "ModelState",
    "ModelStatus",
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
    "TokenLogprob",
    "Tool",
    "ToolCall",
    "ToolResult",
    "Usage",
]
