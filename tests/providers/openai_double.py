"""A double of OpenAI's API on loopback; the official client passes against it too, as a test shows.

It wants the key ``KEY``, knows ``MODEL``, which also completes raw prompts, and ``CHAT_MODEL``, which does
not. ``replies`` holds responses that are given, each once, in place of what it would say.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import socket
import struct
import threading
from collections import deque
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from openai_mind import Answer, Asked, answer_to
from openai_shapes import (
    asked_in_chat,
    asked_of_responses,
    asked_raw,
    chat_body,
    chat_chunks,
    completion_body,
    completion_chunks,
    response_body,
    response_events,
)
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

__all__ = ["CHAT_MODEL", "KEY", "MODEL", "Canned", "OpenAIDouble", "running"]

KEY = "sk-double-0123456789abcdef"
MODEL = "double-1"
CHAT_MODEL = "double-chat"
MODELS = (MODEL, CHAT_MODEL)
WIDTH = 16
WORD_S = 0.005  # between two words of an answer that does not end


@dataclass(frozen=True)
class Canned:
    """A response that is given once, whatever was asked."""

    content: bytes | str | dict[str, Any] | list[Any] = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        content = self.content if isinstance(self.content, bytes | str) else json.dumps(self.content)
        return Response(content, self.status, self.headers)


@dataclass(frozen=True)
class Seen:
    """A request that arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


class OpenAIDouble:
    """The application, what it saw, and what it is doing."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.replies: deque[Canned] = deque()
        self.open_streams = 0
        self.gate: threading.Event | None = None  # where set, a response waits for it before its headers
        self.waiting = threading.Event()  # a request waits at the gate
        self.left = threading.Event()  # one that waited there, or listened, has gone
        self.url = ""
        self.app = Starlette(routes=[Route("/{path:path}", self._serve, methods=["GET", "POST"])])

    async def _serve(self, request: Request) -> Response:
        raw = await request.body()
        seen = Seen(
            request.method,
            request.url.path,
            dict(request.query_params),
            dict(request.headers),
            json.loads(raw) if raw else None,
        )
        self.seen.append(seen)
        if self.gate is not None:
            await self._wait_at(self.gate, request)
        if self.replies:
            return self.replies.popleft().response()
        if refused := _refused(seen):
            return refused
        body = seen.body or {}
        match seen.path.removeprefix("/v1"):
            case "/models":
                return JSONResponse({"object": "list", "data": [_model(name) for name in MODELS]})
            case "/embeddings":
                return JSONResponse(_embeddings(body))
            case "/chat/completions":
                return self._answer(body, chat_chunks, chat_body, asked_in_chat(body))
            case "/completions" if body["model"] == CHAT_MODEL:
                message = (
                    "This is a chat model and not supported in the v1/completions endpoint. "
                    "Did you mean to use v1/chat/completions?"
                )
                return _error(404, message, "invalid_request_error", param="model")
            case "/completions":
                return self._answer(body, completion_chunks, completion_body, asked_raw(body))
            case "/responses":
                return self._answer(body, response_events, response_body, asked_of_responses(body))
            case path:
                return _error(404, f"Invalid URL ({request.method} {path})", "invalid_request_error")

    async def _wait_at(self, gate: threading.Event, request: Request) -> None:
        self.waiting.set()
        while not gate.is_set():
            if await request.is_disconnected():
                self.left.set()
                return
            await asyncio.sleep(0.01)

    def _answer(self, body: dict[str, Any], chunks: Any, whole: Any, asked: Asked) -> Response:
        answer = answer_to(asked)
        if not body.get("stream"):
            return JSONResponse(whole(answer, body))
        return StreamingResponse(
            self._watched(chunks(answer, body), answer), media_type="text/event-stream; charset=utf-8"
        )

    async def _watched(self, chunks: Iterator[str], answer: Answer) -> AsyncGenerator[str, None]:
        self.open_streams += 1
        self.left.clear()
        try:
            for chunk in chunks:
                yield chunk
                if answer.is_endless:
                    await asyncio.sleep(WORD_S)
        finally:
            self.open_streams -= 1
            self.left.set()


@contextmanager
def running() -> Iterator[OpenAIDouble]:
    """A double that serves, in a thread of its own."""
    double = OpenAIDouble()
    config = uvicorn.Config(
        double.app, lifespan="off", ws="none", log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()  # so that a request made before the thread is up waits for it
        double.url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield double
        finally:
            server.should_exit = True
            thread.join()


def _refused(seen: Seen) -> Response | None:
    """What OpenAI says to a wrong key or an unknown model."""
    key = seen.headers.get("authorization", "").removeprefix("Bearer ") or seen.headers.get("api-key", "")
    if key != KEY:
        masked = f"{key[:8]}{'*' * max(0, len(key) - 12)}{key[-4:]}"
        message = f"Incorrect API key provided: {masked}. You can find your API key in the dashboard."
        return _error(401, message, "invalid_request_error", code="invalid_api_key")
    model = (seen.body or {}).get("model")
    if model is not None and model not in MODELS:
        message = f"The model `{model}` does not exist or you do not have access to it."
        return _error(404, message, "invalid_request_error", code="model_not_found")
    schema = ((seen.body or {}).get("response_format") or {}).get("json_schema") or {}
    if schema.get("strict") and schema["schema"].get("additionalProperties") is not False:
        message = "Invalid schema for response_format 'answer': 'additionalProperties' must be false."
        return _error(400, message, "invalid_request_error", param="response_format")
    return None


def _error(
    status: int, message: str, type_: str, *, param: str | None = None, code: str | None = None
) -> Response:
    error = {"message": message, "type": type_, "param": param, "code": code}
    return JSONResponse({"error": error}, status)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "double"}


def _embeddings(body: dict[str, Any]) -> dict[str, Any]:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    encode = _as_base64 if body.get("encoding_format") == "base64" else list
    rows = [
        {"object": "embedding", "index": at, "embedding": encode(_vector(text))}
        for at, text in enumerate(texts)
    ]
    tokens = sum(len(text.split()) for text in texts)
    # The order of the rows is no promise; their index is.
    return {
        "object": "list",
        "model": body["model"],
        "data": rows[::-1],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _as_base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _vector(text: str) -> list[float]:
    return [byte / 10 for byte in hashlib.sha256(text.encode()).digest()[:WIDTH]]
