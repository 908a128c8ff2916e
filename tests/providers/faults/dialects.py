"""What a server of each HTTP provider says, as bytes: good streams, errors, and their frames in HTTP.

A dialect is what differs between providers under the same fault; the faults themselves are the business of
``test_faults.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

MODEL = "model-1"
INPUT_TOKENS, OUTPUT_TOKENS = 5, 3
KEY = "sk-planted-7d1f0c2ab94e"


@dataclass(frozen=True, slots=True)
class Dialect:
    """One provider, and how its server speaks.

    Args:
        name: For the test's name.
        provider: What stands before the ``:`` of a model ref.
        settings: The farm's settings for a server's URL.
        at: Where the path of a chat request ends.
        content_type: Of a stream.
        delta: One event with a piece of the answer.
        finish: The event, or events, with the finish mark; token counts or ``None``.
        done: What follows the finish mark.
        failure: The event that reports an error inside a stream.
        error_body: The JSON of an error's response.
        keep_alive: What a proxy sends so that a connection does not look dead.
        opening: The events before the first delta.
        elsewhere: What other paths answer, by their end: a status and a JSON body.
    """

    name: str
    provider: str
    settings: Callable[[str], dict[str, Any]]
    at: str
    content_type: str
    delta: Callable[[str], bytes]
    finish: Callable[[tuple[int, int] | None], bytes]
    done: bytes
    failure: Callable[[str], bytes]
    error_body: Callable[[str], bytes]
    opening: bytes = b""
    keep_alive: bytes = b": ping\n\n"
    elsewhere: Mapping[str, tuple[int, object]] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """The full name of the model that is asked."""
        return f"{self.provider}:{MODEL}"

    def parts(
        self,
        texts: Sequence[str] = ("one ", "two ", "three"),
        usage: tuple[int, int] | None = (INPUT_TOKENS, OUTPUT_TOKENS),
    ) -> list[bytes]:
        """A good stream, an event a part."""
        parts = [self.opening, *map(self.delta, texts), self.finish(usage), self.done]
        return [part for part in parts if part]

    def head(self, *headers: str, status: int = 200, content_type: str | None = None) -> bytes:
        """The head of a response that ends with its connection, or as further ``headers`` say."""
        lines = (f"HTTP/1.1 {status} Fault", f"content-type: {content_type or self.content_type}", *headers)
        return "".join(f"{line}\r\n" for line in (*lines, "")).encode()

    def chunked(self, parts: Iterable[bytes], *headers: str, content_type: str | None = None) -> bytes:
        """A whole response, a chunk a part."""
        head = self.head("transfer-encoding: chunked", *headers, content_type=content_type)
        return b"".join((head, *map(as_chunk, filter(None, parts)), LAST_CHUNK))

    def error(self, status: int, *headers: str, message: str = "no such luck") -> bytes:
        """A whole response that is an error."""
        return whole(self.error_body(message), *headers, status=status)


LAST_CHUNK = b"0\r\n\r\n"


def as_chunk(part: bytes) -> bytes:
    """A piece of a body in chunked transfer encoding."""
    return b"%x\r\n%s\r\n" % (len(part), part)


def whole(body: bytes, *headers: str, status: int = 200, content_type: str = "application/json") -> bytes:
    """A whole response of a known length."""
    lines = (
        f"HTTP/1.1 {status} Fault",
        f"content-type: {content_type}",
        f"content-length: {len(body)}",
        *headers,
    )
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode() + body


def as_json(value: object) -> bytes:
    """Compact, with every character as it is: U+2028 is no escape on the wire."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def sse(value: object, event: str | None = None) -> bytes:
    """One server-sent event."""
    name = b"event: %s\n" % event.encode() if event else b""
    return name + b"data: " + as_json(value) + b"\n\n"


# OpenAI, chat completions


def _chat_chunk(choice: Mapping[str, Any] | None, **fields: Any) -> bytes:
    frame = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    choices = [] if choice is None else [{"index": 0, "finish_reason": None, "delta": {}, **choice}]
    return sse({**frame, "choices": choices, **fields})


def _chat_finish(usage: tuple[int, int] | None) -> bytes:
    finish = _chat_chunk({"finish_reason": "stop"})
    if usage is None:
        return finish
    return finish + _chat_chunk(None, usage=chat_usage(usage))


def chat_usage(usage: tuple[int, int]) -> dict[str, int]:
    """Token counts in the words of chat completions."""
    read, written = usage
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _openai_error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "server_error", "param": None, "code": None}}


def _chat(name: str, provider: str, settings: Callable[[str], dict[str, Any]]) -> Dialect:
    return Dialect(
        name=name,
        provider=provider,
        settings=settings,
        at="/chat/completions",
        content_type="text/event-stream",
        opening=_chat_chunk({"delta": {"role": "assistant", "content": ""}}),
        delta=lambda text: _chat_chunk({"delta": {"content": text}}),
        finish=_chat_finish,
        done=b"data: [DONE]\n\n",
        failure=lambda message: sse(_openai_error(message)),
        error_body=lambda message: as_json(_openai_error(message)),
    )


CHAT = _chat("chat", "openai", lambda url: {"openai": {"base_url": f"{url}/v1"}})
ENDPOINT = _chat(
    "endpoint",
    "groq",
    lambda url: {"endpoints": {"groq": {"base_url": f"{url}/openai/v1", "api_key_env": "GROQ_API_KEY"}}},
)


# OpenAI, Responses


def _responses_event(kind: str, **fields: Any) -> bytes:
    return sse({"type": kind, "sequence_number": 0, **fields}, kind)


def _response(status: str, **fields: Any) -> dict[str, Any]:
    frame = {"id": "resp_1", "object": "response", "created_at": 1, "model": MODEL, "output": []}
    return {**frame, "status": status, "error": None, "incomplete_details": None, "usage": None, **fields}


def _responses_finish(usage: tuple[int, int] | None) -> bytes:
    counts = usage and {"input_tokens": usage[0], "output_tokens": usage[1], "total_tokens": sum(usage)}
    return _responses_event("response.completed", response=_response("completed", usage=counts))


_PART: dict[str, Any] = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
RESPONSES = Dialect(
    name="responses",
    provider="openai",
    settings=lambda url: {"openai": {"base_url": f"{url}/v1", "api": "responses"}},
    at="/responses",
    content_type="text/event-stream",
    opening=_responses_event("response.created", response=_response("in_progress"))
    + _responses_event(
        "response.output_item.added",
        output_index=0,
        item={"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []},
    ),
    delta=lambda text: _responses_event("response.output_text.delta", delta=text, logprobs=[], **_PART),
    finish=_responses_finish,
    done=b"",
    failure=lambda message: _responses_event("error", code="server_error", message=message, param=None),
    error_body=lambda message: as_json(_openai_error(message)),
)


# Ollama


def _ollama_line(text: str, **fields: Any) -> bytes:
    line = {"model": MODEL, "created_at": "2026-01-01T00:00:00Z", "done": False}
    return as_json({**line, "message": {"role": "assistant", "content": text}, **fields}) + b"\n"


def _ollama_finish(usage: tuple[int, int] | None) -> bytes:
    counts = {"prompt_eval_count": usage[0], "eval_count": usage[1]} if usage else {}
    return _ollama_line("", done=True, done_reason="stop", total_duration=1_000_000, **counts)


_OLLAMA_MODEL = {
    "name": f"{MODEL}:latest",
    "model": f"{MODEL}:latest",
    "size": 1,
    "digest": "d" * 64,
    "modified_at": "2026-01-01T00:00:00Z",
    "details": {"family": "llama", "format": "gguf"},
}
OLLAMA = Dialect(
    name="ollama",
    provider="ollama",
    settings=lambda url: {"ollama": {"url": url}},
    at="/api/chat",
    content_type="application/x-ndjson",
    delta=_ollama_line,
    finish=_ollama_finish,
    done=b"",
    failure=lambda message: as_json({"error": message}) + b"\n",
    error_body=lambda message: as_json({"error": message}),
    keep_alive=b"\n",
    elsewhere={
        "/api/tags": (200, {"models": [_OLLAMA_MODEL]}),
        "/api/ps": (200, {"models": [{**_OLLAMA_MODEL, "size_vram": 1}]}),
        "/api/show": (200, {"capabilities": ["completion"], "details": {}, "model_info": {}}),
        "/api/version": (200, {"version": "0.12.0"}),
    },
)

DIALECTS = (CHAT, ENDPOINT, RESPONSES, OLLAMA)
