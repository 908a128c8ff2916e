"""A provider and devices that mean harm, for a notebook that shows them in every panel.

Not imported by tests: ``test_panels_safety.py`` copies it beside the notebook that imports it, together with
``payloads.json``.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import farm_notebook as farm
from farm_notebook.errors import ProviderError
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.reply import Reply
from farm_notebook.threads import default_threads
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    DeviceStats,
    Event,
    Finished,
    ModelInfo,
    ModelRef,
    ModelShare,
    ReasoningDelta,
    Started,
    TextDelta,
    Usage,
)
from farm_notebook.widgets.gpu import GPUPart
from farm_notebook.widgets.panel import Panel

PAYLOADS: list[str] = json.loads(Path("payloads.json").read_text("utf-8"))
SHORT = [each for each in PAYLOADS if "\n" not in each and "\0" not in each]
THREAD = f"a thread {SHORT[0]} {SHORT[10]}"
ALL = "\n\n***\n\n".join(PAYLOADS)


class Hostile(ScriptedProvider):
    """Its names, answers, reasoning, errors and states are payloads."""

    name, is_listed = "hostile", True

    async def stream(self, request: ChatRequest) -> AsyncIterator[Event]:  # type: ignore[override]
        yield Started(request.ref)
        if request.ref.model == "fails":
            raise ProviderError(f"It failed: {' '.join(SHORT)}", provider=self.name)
        text = ALL if request.ref.model == "all" else request.ref.model
        yield ReasoningDelta(text)
        for start in range(0, len(text), 9):
            yield TextDelta(text[start : start + 9])
        yield Finished("stop", Usage(1, 1))

    async def list_models(self) -> list[ModelInfo]:
        return [ModelInfo(ModelRef(self.name, each), available=True) for each in ["all", "fails", *SHORT]]

    async def health_check(self) -> farm.ProviderStatus:
        return farm.ProviderStatus(self.name, healthy=False, detail=" ".join(SHORT), fix=" ".join(SHORT))


farm.register_provider(Hostile)

for payload in PAYLOADS:
    default_threads().add(
        THREAD,
        ChatMessage("user", payload),
        Reply(payload, ModelRef("hostile", payload), "stop", reasoning=payload, routed=payload),
    )


def read(shares: Mapping[str, Sequence[ModelShare]]) -> tuple[DeviceStats, ...]:
    """A device for each payload, with a model of such a name in it."""
    return tuple(
        DeviceStats(
            f"cuda:{index}", "cuda", each, 2**30, 2**29, 2**29,
            models=(ModelShare(ModelRef("hostile", each), 2**28),), detail=each,
        )
        for index, each in enumerate(SHORT)
    )  # fmt: skip


def gpu_panel(**options: Any) -> Panel:
    return Panel("gpu", [GPUPart(read=read, **options)])
