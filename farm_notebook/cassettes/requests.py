"""From what was asked, as it was recorded, back to a request: to ask it again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

from farm_notebook.cassettes.asks import Ask, summary
from farm_notebook.cassettes.scrub import MASK
from farm_notebook.errors import CassetteError
from farm_notebook.types import ChatMessage, ChatRequest, Image, ImageType, ModelRef, Tool, ToolCall

__all__ = ["REQUESTS", "request_of"]

REQUESTS = ("chat", "completion")  # calls that are one request
_PARAMETERS = (
    *("temperature", "top_p", "max_tokens", "seed", "logprobs"),
    *("schema", "tool_choice", "reasoning", "sample"),
)


def request_of(asked: Ask, pictures: Path) -> ChatRequest:
    """The request that was asked.

    Args:
        asked: A call that is one of ``REQUESTS``.
        pictures: The folder of its images.

    Raises:
        CassetteError: A secret was taken out of it, an image is missing, or it is none.
    """
    if MASK in str(asked):
        raise CassetteError(
            f"A secret was taken out of {summary(asked)}; only its notebook can ask it again."
        )
    try:
        provider, _, model = asked["model"].partition(":")
        return ChatRequest(
            ModelRef(provider, model),
            tuple(_message(message, pictures) for message in asked["messages"]),
            kind=asked["call"],
            stop=tuple(asked.get("stop", ())),
            tools=tuple(Tool(**tool) for tool in asked.get("tools", ())),
            extra=asked.get("extra", {}),
            **{name: asked[name] for name in _PARAMETERS if name in asked},
        )
    except (LookupError, TypeError, AttributeError) as error:
        raise CassetteError(f"{summary(asked)} is no request ({type(error).__name__}: {error}).") from None


def _message(told: Mapping[str, Any], pictures: Path) -> ChatMessage:
    return ChatMessage(
        told["role"],
        told["content"],
        tuple(_picture(image, pictures) for image in told.get("images", ())),
        tuple(ToolCall(**call) for call in told.get("tool_calls", ())),
        told.get("tool_call_id"),
    )


def _picture(told: str, pictures: Path) -> Image:
    media_type, _, digest = told.partition(";sha256=")
    path = next(pictures.glob(f"{digest}.*"), None) if digest and media_type in get_args(ImageType) else None
    if path is None:
        raise CassetteError(f"The image {told!r} is not in {str(pictures)!r}.")
    return Image(path.read_bytes(), cast(ImageType, media_type))
