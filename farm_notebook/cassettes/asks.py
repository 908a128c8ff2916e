"""What is asked, as JSON: what tells one call from another, and nothing of who answers it, or when."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from farm_notebook.types import ChatMessage, ChatRequest, Image, ModelRef

__all__ = ["Ask", "ask", "ask_of_request", "canonical", "id_of", "pictures_of", "summary"]

Ask: TypeAlias = Mapping[str, Any]
"""What is asked: ``call`` says of which kind it is."""

ID_DIGITS = 16
SUMMARY_CHARS = 60


def ask(call: str, **details: Any) -> Ask:
    """A call that is no request; details that are ``None`` are left out.

    Args:
        call: Of which kind.
        details: JSON values, and refs.
    """
    told = {
        name: str(value) if isinstance(value, ModelRef) else value
        for name, value in details.items()
        if value is not None
    }
    return {"call": call, **told}


def ask_of_request(request: ChatRequest) -> Ask:
    """A request, with its images told by what they hold; how its model was found, and whether a kept answer
    will do, is no part of it.
    """
    told = ask(
        request.kind,
        model=request.ref,
        messages=[_message(message) for message in request.messages],
        sample=request.sample,
    )
    return {**told, **request.parameters()}


def pictures_of(request: ChatRequest) -> tuple[Image, ...]:
    """The images that go with a request."""
    return tuple(image for message in request.messages for image in message.images)


def canonical(asked: Ask) -> str:
    """The one text of what is asked."""
    return json.dumps(asked, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=dict)


def id_of(asked: Ask) -> str:
    """What tells what is asked from all else: 16 hexadecimal digits."""
    return hashlib.sha256(canonical(asked).encode(errors="surrogatepass")).hexdigest()[:ID_DIGITS]


def summary(asked: Ask) -> str:
    """A few words for the user: the kind of call, the model or function, and how what is asked begins."""
    texts = [message["content"] for message in asked.get("messages", ())] or asked.get("texts", ())
    words = [asked["call"], asked.get("model") or asked.get("name", "")]
    if texts:
        text = " ".join(str(texts[-1]).split())
        words.append(repr(text if len(text) <= SUMMARY_CHARS else f"{text[:SUMMARY_CHARS]}…"))
    return " ".join(filter(None, words))


def _message(message: ChatMessage) -> dict[str, Any]:
    told: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        told["images"] = [f"{image.media_type};sha256={image.digest}" for image in message.images]
    if message.tool_calls:
        told["tool_calls"] = _plain_calls(message)
    if message.tool_call_id is not None:
        told["tool_call_id"] = message.tool_call_id
    return told


def _plain_calls(message: ChatMessage) -> Sequence[dict[str, str]]:
    return [{name: getattr(call, name) for name in call.__slots__} for call in message.tool_calls]
