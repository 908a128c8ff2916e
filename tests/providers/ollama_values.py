"""What the double of Ollama makes of names, times and options, as Go does; and its errors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any


class WireError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def full_name(name: str) -> str:
    """A name with its tag, without the registry's."""
    name = name.removeprefix("registry.ollama.ai/").removeprefix("library/").lower()
    return name if ":" in name else f"{name}:latest"


def nested(code: int, message: str, kind: str, **further: Any) -> str:
    """An error of llama.cpp, as Ollama passes it on: text that is JSON."""
    return json.dumps({"error": {"code": code, "message": message, "type": kind} | further})


def seconds(duration: Any) -> float | None:
    """A Go duration; ``None`` where there is none."""
    if duration is None or isinstance(duration, int | float):
        return duration
    units = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
    if not re.fullmatch(r"-?(\d+(\.\d+)?[a-z]*)+", duration):
        raise WireError(400, f"time: invalid duration {json.dumps(duration)}")
    parts = re.findall(r"(\d+(?:\.\d+)?)([a-z]*)", duration)
    if any(unit not in units for _, unit in parts):
        raise WireError(400, f"time: missing unit in duration {json.dumps(duration)}")
    return (-1 if duration.startswith("-") else 1) * sum(float(n) * units[unit] for n, unit in parts)


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse what ``Options.FromMap`` of api/types.go refuses."""
    kinds: dict[str, tuple[str, type | tuple[type, ...]]] = {
        **dict.fromkeys(("num_ctx", "num_predict", "seed", "top_k"), ("integer", (int, float))),
        **dict.fromkeys(("temperature", "top_p", "min_p", "repeat_penalty"), ("float32", (int, float))),
        "stop": ("array", list),
    }
    for name, (word, kind) in kinds.items():
        if name in options and not isinstance(options[name], kind):
            raise WireError(500, f'option "{name}" must be of type {word}')
