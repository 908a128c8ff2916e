"""What the double of OpenAI's API answers, whatever interface it is asked through: words, calls, reasons."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Answer", "Asked", "answer_to"]

CAPITALS = {"Japan": "Tokyo", "Germany": "Berlin", "Russia": "Moscow", "Egypt": "Cairo"}
WORDS = ("farm", "field", "barn", "seed", "rain", "sun", "corn", "wheat", "plough", "harvest")


@dataclass(frozen=True)
class Asked:
    """A request, in words that all of the interfaces can say."""

    prompt: str
    temperature: float = 1.0
    seed: int | None = None
    limit: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    tool_choice: str = "auto"
    tool_result: str | None = None
    schema: dict[str, Any] | None = None
    images: tuple[str, ...] = ()
    effort: str = "none"


@dataclass(frozen=True)
class Answer:
    """A word is a token, the blank before it a part of it."""

    words: Iterator[str] = field(default_factory=lambda: iter(()))
    reason: str = "stop"
    calls: tuple[tuple[str, str], ...] = ()
    thoughts: tuple[str, ...] = ()
    refusal: str = ""
    count: int | None = None
    is_endless: bool = False


def answer_to(asked: Asked) -> Answer:
    """The same answer to the same request, unless it is warm and has no seed."""
    thoughts = () if asked.effort == "none" else (f"Let me think {asked.effort}ly.", " So.")
    if asked.prompt == "Refuse.":
        return Answer(refusal="I cannot help with that.")
    if asked.prompt == "Never end.":
        return Answer(words=(f" {number}" for number in itertools.count()), is_endless=True)
    if asked.tool_result is None and (called := _tool_called(asked)):
        arguments = json.dumps({"city": "Paris"})
        return Answer(reason="tool_calls", calls=((called, arguments),), thoughts=thoughts, count=5)
    words = re.findall(r"\s*\S+", _text(asked))
    cut = words if asked.limit is None else words[: asked.limit]
    text = "".join(cut)
    ends = [at for at in (text.find(mark) for mark in asked.stop) if at >= 0]
    spoken = re.findall(r"\s*\S+", text[: min(ends)]) if ends else cut
    is_cut = len(cut) < len(words) and not ends
    return Answer(iter(spoken), "length" if is_cut else "stop", thoughts=thoughts, count=len(spoken))


def _tool_called(asked: Asked) -> str | None:
    if asked.tool_choice == "required":
        return asked.tools[0]
    return asked.tool_choice if asked.tool_choice in asked.tools else None


def _text(asked: Asked) -> str:
    if asked.tool_result is not None:
        return f"The tool says: {asked.tool_result}."
    if asked.schema is not None:
        return json.dumps(_instance(asked.schema))
    if asked.images:
        return f"I see {len(asked.images)} pictures: {', '.join(image[:22] for image in asked.images)}"
    for land, city in CAPITALS.items():
        if land in asked.prompt:
            return f"The capital of {land} is {city}."
    if asked.prompt == "Tell a story.":
        # A limit must not change the words before it, so nothing but these two decides.
        luck = random.Random(asked.seed if asked.temperature else 0)
        return " ".join(f"{luck.choice(WORDS)}{number}" for number in range(40))
    return asked.prompt


def _instance(schema: dict[str, Any]) -> Any:
    """A value that satisfies a schema, of those a test may send."""
    match schema.get("type"):
        case "object":
            return {name: _instance(inner) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return [_instance(schema["items"])]
        case "integer":
            return 2102650
        case "boolean":
            return True
        case _:
            return schema.get("enum", ["Paris"])[0]
