"""What the models of the Ollama double are, and what they say: deterministic, and true to each parameter."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, product
from typing import Any, TypeAlias

Part: TypeAlias = tuple[
    str, Any
]  # ("content" | "thinking" | "tool_calls", value), as in a message on the wire

VOCABULARY = ["".join(pair) for pair in product(("ka", "lo", "mi", "ne", "ru", "si"), repeat=2)]
EMBEDDING_WIDTH = 16
STORY = "Tell a story."
ENDLESS = "Talk forever."
SLOW = "[a very long prompt]"  # is read until the caller leaves or the gate is opened
U2028 = "a\u2028b"


@dataclass(frozen=True)
class Model:
    """A model of the registry.

    Args:
        name: With its tag.
        capabilities: In Ollama's words.
        sizes: Bytes of each layer.
        context_length: What it was trained on.
        family: Its architecture.
        needs_gib: Of memory; more than there is fails to load.
    """

    name: str
    capabilities: tuple[str, ...] = ("completion",)
    sizes: tuple[int, ...] = (4_000_000, 1_000, 200)
    context_length: int = 8192
    family: str = "parrot"
    needs_gib: float = 1.0

    @property
    def layers(self) -> list[tuple[str, int]]:
        return [(_sha256(f"{self.name} {number}"), size) for number, size in enumerate(self.sizes)]

    @property
    def digest(self) -> str:
        return _sha256(f"{self.name} {self.sizes}").removeprefix("sha256:")

    @property
    def details(self) -> dict[str, Any]:
        return {
            "parent_model": "",
            "format": "gguf",
            "family": self.family,
            "families": [self.family],
            "parameter_size": "135M",
            "quantization_level": "Q4_K_M",
        }

    @property
    def info(self) -> dict[str, Any]:
        return {
            "general.architecture": self.family,
            "general.license": "mit",
            f"{self.family}.context_length": self.context_length,
            f"{self.family}.embedding_length": EMBEDDING_WIDTH,
            "tokenizer.ggml.tokens": [],
        }


REGISTRY = {
    model.name: model
    for model in (
        Model("parrot:latest", ("completion", "tools", "vision")),
        Model("parrot:8b", ("completion", "tools"), sizes=(9_000_000, 1_000)),
        Model("plain:latest"),
        Model("thinker:latest", ("completion", "thinking"), family="thinker"),
        Model("embedder:latest", ("embedding",), context_length=512, family="bert"),
        Model("giant:latest", needs_gib=4096.0),
        Model("crasher:latest"),
    )
}


@dataclass
class Asked:
    """One request, whichever call it came by."""

    model: Model
    text: str
    options: Mapping[str, Any]
    role: str = "user"
    images: Sequence[bytes] = ()
    tools: Sequence[Mapping[str, Any]] = ()
    schema: Any = None
    thinks: bool = False
    n_tokens: int = 0
    said: list[str] = field(default_factory=list)
    reason: str = "stop"

    def parts(self) -> Iterator[Part]:
        """What the model says, a token at a time, cut as the options say; ``said`` and ``reason`` follow."""
        if self.thinks:
            for word in ("Let", " me", " think."):
                self.said.append(word)
                yield "thinking", word
        if self.role == "user" and (called := [tool for tool in self.tools if self._mentions(tool)]):
            self.said.append("call")
            yield "tool_calls", [self._call(tool, index) for index, tool in enumerate(called)]
            return
        limit = self.options.get("num_predict", -1)
        for token in _until(self._tokens(), self.options.get("stop") or ()):
            if 0 <= limit <= len(self.said):
                self.reason = "length"
                return
            self.said.append(token)
            yield "content", token

    def _tokens(self) -> Iterator[str]:
        if self.schema is not None:
            text = json.dumps({"answer": "yes"} if self.schema == "json" else example(self.schema))
            return iter(re.findall(r".{1,6}", text))
        if ENDLESS in self.text:
            return (f"{' ' if number else ''}word{number}" for number in count())
        if self.text == STORY:
            greedy = self.options.get("temperature", 0.8) == 0
            dice = random.Random(0 if greedy else self.options.get("seed"))
            return iter(_spaced(dice.sample(VOCABULARY, len(VOCABULARY))))
        if self.images:
            sizes = ", ".join(str(len(image)) for image in self.images)
            return iter(_spaced(f"I see images of {sizes} bytes".split()))
        if self.role == "tool":
            return iter(_spaced(f"The tool says: {self.text}".split(" ")))
        return iter(re.findall(r"[^\S\u2028]*[\S\u2028]+", self.text))

    def _mentions(self, tool: Mapping[str, Any]) -> bool:
        words = tool["function"]["name"].lower().split("_")
        return any(word in self.text.lower() for word in words[1:] or words)

    def _call(self, tool: Mapping[str, Any], index: int) -> dict[str, Any]:
        function = tool["function"]
        arguments = example(function["parameters"], text=self.text.rstrip("?.").split()[-1])
        return {"function": {"index": index, "name": function["name"], "arguments": arguments}}


def tokens_of(text: str) -> int:
    """The length of a text for these models: its words."""
    return len(text.split())


def example(schema: Mapping[str, Any], text: str = "Paris") -> Any:
    """A value that satisfies a simple JSON schema."""
    match schema.get("type"):
        case "object":
            return {name: example(of, text) for name, of in (schema.get("properties") or {}).items()}
        case "array":
            return [example(schema.get("items") or {}, text)]
        case "integer" | "number":
            return 7
        case "boolean":
            return True
        case _:
            return (schema.get("enum") or [text])[0]


def embedding(text: str) -> list[float]:
    """A vector of unit length that depends on the text alone."""
    dice = random.Random(text)
    raw = [dice.gauss(0, 1) for _ in range(EMBEDDING_WIDTH)]
    norm = sum(value * value for value in raw) ** 0.5
    return [round(value / norm, 9) for value in raw]


def _spaced(words: Sequence[str]) -> list[str]:
    return [f"{' ' if number else ''}{word}" for number, word in enumerate(words)]


def _until(tokens: Iterator[str], stops: Sequence[str]) -> Iterator[str]:
    """The tokens before a stop string; whatever might become one is held back until it is not."""
    held, longest = "", max(map(len, stops), default=0)
    for token in tokens:
        if not stops:
            yield token
            continue
        held += token
        if found := [held.index(stop) for stop in stops if stop in held]:
            if held[: min(found)]:
                yield held[: min(found)]
            return
        if len(held) > longest + len(token):
            yield held[: -longest or None]
            held = held[-longest:]
    if held:
        yield held


def _sha256(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
