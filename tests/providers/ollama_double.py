"""An Ollama server that needs no model: true to the wire, and to what its parameters mean.

Run in a thread as ``OllamaDouble``, or as a script in the place of the program ``ollama``: the models on its
disk are files, so that several processes agree on them. What it says follows server/routes.go, api/types.go
and server/download.go of https://github.com/ollama/ollama (August 2026); ``test_ollama_double.py`` drives it
with the official client. A test may hold it (``gate``), break its pulls (``drops``), or have it answer
anything at all (``scripted``).
"""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import socket
import string
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote, unquote

from ollama_http import CallerLeft, Connection
from ollama_mind import ENDLESS, REGISTRY, SLOW, Asked, Model, embedding, tokens_of
from ollama_values import WireError, check_options, full_name, nested, seconds

VERSION = "0.13.0"
MEMORY_GIB = 8.0
DEFAULT_CONTEXT = 4096
PULL_STEPS = 5
TOKEN_S = 0.01  # between two tokens of an endless answer
UNLOADING_S = 0.1  # a model is listed for a while after it was told to go
LOOK_S = 0.01


@dataclass
class Loaded:
    """A model in memory."""

    model: Model
    context: int
    expires: float


@dataclass
class OllamaDouble:
    """One server.

    Args:
        folder: Its disk.
        is_old: Answers as versions before 0.12 did: no call ids, fewer facts in lists.
        key: What callers must show as a bearer token, if anything.
    """

    folder: Path
    is_old: bool = False
    key: str = ""
    requests: list[tuple[str, str, Any]] = field(default_factory=list)
    scripted: dict[str, tuple[int, str, dict[str, str]]] = field(default_factory=dict)  # once
    always: dict[str, tuple[int, str, dict[str, str]]] = field(default_factory=dict)
    loaded: dict[str, Loaded] = field(default_factory=dict)
    gate: threading.Event = field(default_factory=threading.Event)
    began: threading.Event = field(default_factory=threading.Event)  # an answer is in the making
    held: threading.Event = field(default_factory=threading.Event)  # something waits for the gate
    working: int = 0  # answers in the making
    pulling: int = 0
    drops: int = 0
    connections: int = 0
    url: str = ""

    def __post_init__(self) -> None:
        self.gate.set()
        (self.folder / "manifests").mkdir(parents=True, exist_ok=True)
        (self.folder / "blobs").mkdir(exist_ok=True)

    def install(self, *names: str) -> None:
        """Have models on the disk."""
        for name in names:
            (self.folder / "manifests" / quote(name, safe="")).touch()
            for digest, size in REGISTRY[name].layers:
                self.blob(digest).write_text(str(size))

    def installed(self) -> list[Model]:
        names = sorted(unquote(path.name) for path in (self.folder / "manifests").iterdir())
        return [REGISTRY[name] for name in names]

    def blob(self, digest: str) -> Path:
        """A file that says how many bytes of a layer have arrived."""
        return self.folder / "blobs" / digest.replace(":", "-")

    def asked_for(self, path: str) -> list[Any]:
        """The bodies of the requests for a call, in order."""
        return [body for _, asked, body in self.requests if asked == path]

    def is_idle(self, within_s: float) -> bool:
        """Whether no answer is being made, or soon none any more."""
        give_up_at = time.monotonic() + within_s
        while self.working or self.pulling:
            if time.monotonic() > give_up_at:
                return False
            time.sleep(LOOK_S)
        return True

    def server(self, host: str = "127.0.0.1", port: int = 0) -> ThreadingHTTPServer:
        """The listening server; whoever asked for it runs it."""
        server = ThreadingHTTPServer((host, port), _Handler)
        server.daemon_threads = True
        server.double = self  # type: ignore[attr-defined]  # where a handler finds it
        self.url = f"http://{host}:{server.server_address[1]}"
        return server

    @contextmanager
    def running(self, port: int = 0) -> Iterator[OllamaDouble]:
        """Serve in a thread."""
        server = self.server(port=port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": LOOK_S}, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.gate.set()
            server.shutdown()
            server.server_close()
            thread.join()


class _Handler(Connection):
    """The calls."""

    routes: ClassVar[dict[tuple[str, str], Callable[[_Handler, Any], None]]]

    def setup(self) -> None:
        super().setup()
        self.double: OllamaDouble = self.server.double  # type: ignore[attr-defined]
        self.double.connections += 1
        self.is_streaming = False

    def finish(self) -> None:
        self.double.connections -= 1
        super().finish()

    def _route(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        raw = self.rfile.read(length)
        self.is_streaming = False
        double = self.double
        try:
            body = json.loads(raw) if raw else None
            double.requests.append((self.command, self.path, body))
            if told := double.scripted.pop(self.path, None) or double.always.get(self.path):
                status, text, headers = told
                return self.send_bytes(status, text.encode(), headers)
            if double.key and self.headers.get("authorization") != f"Bearer {double.key}":
                raise WireError(401, "unauthorized")
            route = self.routes.get((self.command, self.path))
            if route is None:
                return self.send_bytes(404, b"404 page not found", {"content-type": "text/plain"})
            if self.command != "GET" and not isinstance(body, dict):
                raise WireError(400, "missing request body")
            double.working += self.path in ("/api/chat", "/api/generate")
            double.pulling += self.path == "/api/pull"
            try:
                route(self, body)
            finally:
                double.working -= self.path in ("/api/chat", "/api/generate")
                double.pulling -= self.path == "/api/pull"
        except WireError as error:
            if self.is_streaming:  # too late for a status
                self.send_line({"error": str(error)})
                self.end()
            else:
                self.send_json({"error": str(error)}, error.status)
        except (CallerLeft, BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_GET = do_POST = do_DELETE = do_HEAD = _route

    def version(self, body: Any) -> None:
        self.send_json({"version": VERSION})

    def root(self, body: Any) -> None:
        self.send_bytes(200, b"Ollama is running", {"content-type": "text/plain; charset=utf-8"})

    def tags(self, body: Any) -> None:
        models = []
        for model in self.double.installed():
            entry: dict[str, Any] = {"name": model.name, "model": model.name, "modified_at": _now()}
            entry |= {"size": sum(model.sizes), "digest": model.digest, "details": model.details}
            if not self.double.is_old:
                entry["details"]["context_length"] = model.context_length
                entry["capabilities"] = list(model.capabilities)
            models.append(entry)
        self.send_json({"models": models})

    def ps(self, body: Any) -> None:
        now = time.time()
        self.double.loaded = {name: one for name, one in self.double.loaded.items() if one.expires > now}
        models = []
        for name, one in self.double.loaded.items():
            size = sum(one.model.sizes)
            entry = {"name": name, "model": name, "size": size, "digest": one.model.digest}
            entry |= {"details": one.model.details, "expires_at": _now(one.expires - now), "size_vram": 0}
            models.append(entry | {"context_length": one.context})
        self.send_json({"models": models})

    def show(self, body: Any) -> None:
        model = self._model(body)
        shown = {"license": "MIT License\n...", "modelfile": "# Modelfile", "template": "{{ .Prompt }}"}
        facts = {"details": model.details, "model_info": model.info, "capabilities": list(model.capabilities)}
        self.send_json(shown | facts | {"modified_at": _now()})

    def delete(self, body: Any) -> None:
        model = self._model(body)
        (self.double.folder / "manifests" / quote(model.name, safe="")).unlink()
        self.double.loaded.pop(model.name, None)
        self.send_bytes(200, b"", {})

    def pull(self, body: Any) -> None:
        name = full_name(body.get("model") or body.get("name"))
        double, dropping = self.double, self.double.drops > 0
        double.drops -= dropping
        is_streamed = body.get("stream", True)
        if is_streamed:
            self.begin()

        def tell(line: Mapping[str, Any]) -> None:
            if is_streamed:
                self.send_line(line)

        tell({"status": "pulling manifest"})
        model = REGISTRY.get(name)
        if model is None:
            raise WireError(500, "pull model manifest: file does not exist")
        for digest, size in model.layers:
            blob = double.blob(digest)
            there = int(blob.read_text()) if blob.exists() else 0
            line = {"status": f"pulling {digest[7:19]}", "digest": digest, "total": size}
            if there == size:
                tell(line | {"completed": size})
                continue
            while there < size:
                tell(line | ({"completed": there} if there else {}))  # Go leaves out a 0
                self._wait_for_gate()
                there = min(size, there + max(1, size // PULL_STEPS))
                blob.write_text(str(there))
                if dropping and there > size // 2:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    raise CallerLeft
        for status in ("verifying sha256 digest", "writing manifest"):
            tell({"status": status})
        double.install(name)
        if is_streamed:
            tell({"status": "success"})
            self.end()
        else:
            self.send_json({"status": "success"})

    def embed(self, body: Any) -> None:
        model = self._model(body)
        texts = body.get("input")
        texts = [texts] if isinstance(texts, str) else (texts or [])
        if not all(isinstance(text, str) for text in texts):
            raise WireError(400, "invalid input type")
        loaded = self._load(model, body)
        limit = min(loaded.context, model.context_length)
        if body.get("truncate") is False and any(tokens_of(text) > limit for text in texts):
            raise WireError(400, "the input length exceeds the context length")
        answer = {"model": body["model"], "embeddings": [embedding(text) for text in texts]}
        self.send_json(answer | {"prompt_eval_count": sum(map(tokens_of, texts)), "total_duration": 1000})
        self._keep(model, body)

    def generate(self, body: Any) -> None:
        model = self._model(body)
        if not body.get("prompt") and seconds(body.get("keep_alive")) == 0:
            if model.name in self.double.loaded:
                self.double.loaded[model.name].expires = time.time() + UNLOADING_S
            return self.send_json(_response(body, response="") | {"done": True, "done_reason": "unload"})
        if body.get("raw") and any(body.get(name) for name in ("template", "system", "context")):
            raise WireError(400, "raw mode does not support template, system, or context")
        thinks = self._thinks(model, body, "generate")
        loaded = self._load(model, body)
        if not body.get("prompt"):
            return self.send_json(_response(body, response="") | {"done": True, "done_reason": "load"})
        text = body["prompt"] + body.get("suffix", "")
        images = [base64.b64decode(image) for image in body.get("images") or ()]
        asked = Asked(model, text, body.get("options") or {}, images=images, thinks=thinks)
        asked.schema, asked.n_tokens = body.get("format"), tokens_of(text)
        self._answer(asked, loaded, body)
        return None

    def chat(self, body: Any) -> None:
        model = self._model(body)
        messages = body.get("messages") or []
        tools = body.get("tools") or ()
        thinks = self._thinks(model, body, "chat")
        if tools and "tools" not in model.capabilities:
            raise WireError(400, f"registry.ollama.ai/library/{model.name} does not support tools")
        loaded = self._load(model, body)
        if not messages:
            empty = {"message": {"role": "assistant", "content": ""}}
            return self.send_json(_response(body, **empty) | {"done": True, "done_reason": "load"})
        for call in (call for message in messages for call in message.get("tool_calls") or ()):
            if not isinstance(call["function"]["arguments"], dict):
                kind = type(call["function"]["arguments"]).__name__
                raise WireError(400, f"json: cannot unmarshal {kind} into Go struct field .arguments")
        last = messages[-1]
        images = [base64.b64decode(image) for image in last.get("images") or ()]
        if images and "vision" not in model.capabilities:
            complaint = "image input is not supported - hint: you may need to provide the mmproj"
            raise WireError(500, nested(500, complaint, "server_error"))
        asked = Asked(
            model, last.get("content") or "", body.get("options") or {}, last["role"], images, tools
        )
        asked.schema, asked.thinks = body.get("format"), thinks
        asked.n_tokens = sum(tokens_of(message.get("content") or "") for message in messages)
        self._answer(asked, loaded, body)
        return None

    def _answer(self, asked: Asked, loaded: Loaded, body: Any) -> None:
        """Stream an answer, or send it whole."""

        def response(parts: Mapping[str, Any]) -> dict[str, Any]:
            if "messages" in body:
                return _response(body, message={"role": "assistant", "content": ""} | dict(parts))
            named = {"response" if kind == "content" else kind: value for kind, value in parts.items()}
            return _response(body, response="") | named

        is_streamed = body.get("stream", True)
        limit = loaded.context
        if asked.n_tokens > limit and body.get("truncate") is False:
            words = f"request ({asked.n_tokens} tokens) exceeds the available context size ({limit} tokens)"
            counts = {"n_prompt_tokens": asked.n_tokens, "n_ctx": limit}
            raise WireError(400, nested(400, words, "exceed_context_size_error", **counts))
        self.double.began.set()
        if SLOW in asked.text:
            self.double.gate.clear()
            self._wait_for_gate()
        whole: dict[str, Any] = {}
        logprobs: list[Any] = []
        if is_streamed:
            self.begin()
        for number, (kind, said) in enumerate(asked.parts()):
            has_ids = kind == "tool_calls" and not self.double.is_old
            value = [{"id": _call_id()} | call for call in said] if has_ids else said
            if asked.model.name == "crasher:latest" and number == 2:
                raise WireError(500, "an error was encountered while running the model: unexpected EOF")
            whole[kind] = whole[kind] + value if kind in whole else value
            if kind == "content" and body.get("logprobs") and not self.double.is_old:
                told = [_likely(said, body.get("top_logprobs", 0))]
                logprobs += told
                line = response({kind: value}) | {"done": False, "logprobs": told}
            else:
                line = response({kind: value}) | {"done": False}
            if is_streamed:
                self.send_line(line)
            if ENDLESS in asked.text:
                time.sleep(TOKEN_S)
        end = {"done": True, "done_reason": asked.reason, "total_duration": 5000, "load_duration": 1000}
        end |= {"prompt_eval_count": asked.n_tokens, "eval_count": len(asked.said)}
        if is_streamed:
            self.send_line(response({}) | end)
            self.end()
        else:
            self.send_json(response(whole) | end | ({"logprobs": logprobs} if logprobs else {}))
        self._keep(asked.model, body)

    def _model(self, body: Any) -> Model:
        name = full_name(body.get("model") or body.get("name") or "")
        found = [model for model in self.double.installed() if model.name == name]
        if not found:
            raise WireError(404, f"model '{body.get('model')}' not found")
        return found[0]

    def _thinks(self, model: Model, body: Any, what: str) -> bool:
        if "completion" not in model.capabilities:
            raise WireError(400, f'"{body["model"]}" does not support {what}')
        wish = body.get("think")
        if wish not in (None, True, False, "low", "medium", "high", "max"):
            raise WireError(400, f"invalid think value: {json.dumps(wish)}")
        if "thinking" in model.capabilities:
            return wish is None or bool(wish)
        if wish:
            raise WireError(400, f'"{body["model"]}" does not support thinking')
        return False

    def _load(self, model: Model, body: Any) -> Loaded:
        seconds(body.get("keep_alive"))
        options = body.get("options") or {}
        check_options(options)
        context = min(options.get("num_ctx", DEFAULT_CONTEXT), model.context_length)
        if model.needs_gib > MEMORY_GIB:
            words = f"model requires more system memory ({model.needs_gib:.1f} GiB) than is available"
            raise WireError(500, f"{words} ({MEMORY_GIB:.1f} GiB)")
        loaded = self.double.loaded[model.name] = Loaded(model, context, float("inf"))
        self._keep(model, body, at_least=5.0)
        return loaded

    def _keep(self, model: Model, body: Any, at_least: float = 0.0) -> None:
        asked_s = seconds(body.get("keep_alive"))
        keep_s = 300.0 if asked_s is None else 1e9 if asked_s < 0 else max(asked_s, at_least)
        if model.name in self.double.loaded:
            self.double.loaded[model.name].expires = time.time() + keep_s

    def _wait_for_gate(self) -> None:
        while not self.double.gate.is_set():
            self.double.held.set()
            self.double.gate.wait(LOOK_S)
            self.look_for_caller()


_Handler.routes = {
    ("GET", "/"): _Handler.root,
    ("HEAD", "/"): _Handler.root,
    ("GET", "/api/version"): _Handler.version,
    ("GET", "/api/tags"): _Handler.tags,
    ("GET", "/api/ps"): _Handler.ps,
    ("POST", "/api/show"): _Handler.show,
    ("DELETE", "/api/delete"): _Handler.delete,
    ("POST", "/api/pull"): _Handler.pull,
    ("POST", "/api/embed"): _Handler.embed,
    ("POST", "/api/generate"): _Handler.generate,
    ("POST", "/api/chat"): _Handler.chat,
}


def _response(body: Any, **fields: Any) -> dict[str, Any]:
    return {"model": body["model"], "created_at": _now()} | fields


def _likely(token: str, count: int) -> dict[str, Any]:
    """A token that was a little likelier than another; Go leaves out an empty list."""
    top = [{"token": token, "logprob": -0.25}, {"token": "?", "logprob": -2.0}][:count]
    told = {"token": token, "logprob": -0.25, "bytes": [*token.encode()]}
    return told | ({"top_logprobs": top} if top else {})


def _now(offset_s: float = 0.0) -> str:
    moment = datetime.now(UTC) + timedelta(seconds=min(offset_s, 1e9))
    return moment.isoformat().replace("+00:00", "Z")


def _call_id() -> str:
    return "call_" + "".join(random.choices(string.ascii_lowercase + string.digits, k=8))


def main() -> None:
    """``ollama serve``, or what a test wants of it instead."""
    if words := os.environ.get("OLLAMA_DOUBLE_DIES"):
        sys.exit(f"time=now level=INFO msg=hello\nError: {words}")
    if os.environ.get("OLLAMA_DOUBLE_MUTE"):
        print("time=now level=INFO msg=thinking", flush=True)
        signal.pause()
    assert sys.argv[1:] == ["serve"], sys.argv
    host, _, port = os.environ.get("OLLAMA_HOST", "127.0.0.1:11434").rpartition(":")
    double = OllamaDouble(Path(os.environ["OLLAMA_MODELS"]))
    try:
        server = double.server(host.strip("[]"), int(port))
    except OSError as error:
        sys.exit(f"Error: listen tcp {host}:{port}: bind: {os.strerror(error.errno or 0).lower()}")
    print(f"Listening on {host}:{port} (version {VERSION})", file=sys.stderr, flush=True)
    server.serve_forever(LOOK_S)


if __name__ == "__main__":
    main()
