"""What conversations are made of: messages, pictures, tools and the calls of tools."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["ChatMessage", "Image", "ImageType", "Role", "Tool", "ToolCall", "ToolResult"]

Role = Literal["system", "user", "assistant", "tool"]
ImageType = Literal["image/png", "image/jpeg", "image/gif", "image/webp"]


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
class ToolResult:
    """What came of a call.

    Args:
        call: What the model asked for.
        text: What it is told: the function's result, or what was wrong.
        is_error: Whether there is no result.
        took_s: Wall-clock seconds that the function ran; 0 where it was not called.
    """

    call: ToolCall
    text: str
    is_error: bool = False
    took_s: float = 0.0

    @property
    def message(self) -> ChatMessage:
        """The result as a turn of the conversation."""
        return ChatMessage("tool", self.text, tool_call_id=self.call.id)
