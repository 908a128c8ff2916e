"""One way to every model, inside the notebook: local, cloud, yours.

    import farm_notebook as farm

    reply = farm.chat("What is the capital of France?")
    for piece in farm.stream("Tell me more."):
        print(piece, end="")

In a notebook, ``%load_ext farm_notebook`` adds ``%farm_chat`` and ``%%farm_chat``. Importing this package
does no I/O and loads nothing heavy: a name's module is imported when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from farm_notebook import errors, gpu, models, types
    from farm_notebook.config import FarmConfig
    from farm_notebook.errors import FarmError
    from farm_notebook.farm import AsyncFarm, Farm
    from farm_notebook.providers import register_provider
    from farm_notebook.providers.base import AIProvider
    from farm_notebook.reply import Reply
    from farm_notebook.types import (
        ChatMessage,
        ChatRequest,
        Embeddings,
        Image,
        ModelInfo,
        ModelRef,
        ProviderStatus,
        Timings,
        Tool,
        ToolCall,
        Usage,
    )
    from farm_notebook.widgets.chat import ChatPanel
    from farm_notebook.widgets.dashboard import Dashboard
    from farm_notebook.widgets.gpu import GPUPanel
    from farm_notebook.widgets.health import HealthPanel
    from farm_notebook.widgets.models import ModelPicker
    from farm_notebook.widgets.usage import UsagePanel

    _default = Farm()
    chat = _default.chat
    chat_structured = _default.chat_structured
    compare = _default.compare
    embed = _default.embed
    generate = _default.generate
    health = _default.health
    history = _default.history
    list_models = _default.list_models
    recorded = _default.recorded
    route = _default.route
    run_tools = _default.run_tools
    similar = _default.similar
    stream = _default.stream
    usage = _default.usage

__version__ = "0.1.0"

_HOMES = {
    "AIProvider": "providers.base",
    "AsyncFarm": "farm",
    "ChatMessage": "types",
    "ChatPanel": "widgets.chat",
    "ChatRequest": "types",
    "Dashboard": "widgets.dashboard",
    "Embeddings": "types",
    "Farm": "farm",
    "FarmConfig": "config",
    "FarmError": "errors",
    "GPUPanel": "widgets.gpu",
    "HealthPanel": "widgets.health",
    "Image": "types",
    "ModelInfo": "types",
    "ModelPicker": "widgets.models",
    "ModelRef": "types",
    "ProviderStatus": "types",
    "Reply": "reply",
    "Timings": "types",
    "Tool": "types",
    "ToolCall": "types",
    "Usage": "types",
    "UsagePanel": "widgets.usage",
    "register_provider": "providers",
}
_CALLS = (
    "chat",
    "chat_structured",
    "compare",
    "embed",
    "generate",
    "health",
    "history",
    "list_models",
    "recorded",
    "route",
    "run_tools",
    "similar",
    "stream",
    "usage",
)
_SUBMODULES = ("errors", "gpu", "models", "types")

__all__ = [
    "AIProvider",
    "AsyncFarm",
    "ChatMessage",
    "ChatPanel",
    "ChatRequest",
    "Dashboard",
    "Embeddings",
    "Farm",
    "FarmConfig",
    "FarmError",
    "GPUPanel",
    "HealthPanel",
    "Image",
    "ModelInfo",
    "ModelPicker",
    "ModelRef",
    "ProviderStatus",
    "Reply",
    "Timings",
    "Tool",
    "ToolCall",
    "Usage",
    "UsagePanel",
    "chat",
    "chat_structured",
    "compare",
    "embed",
    "errors",
    "generate",
    "gpu",
    "health",
    "history",
    "list_models",
    "models",
    "recorded",
    "register_provider",
    "route",
    "run_tools",
    "similar",
    "stream",
    "types",
    "usage",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in _CALLS:
        from farm_notebook.farm import default_farm

        return getattr(default_farm(), name)
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the magics: ``%load_ext farm_notebook``."""
    from farm_notebook.notebook.extension import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics away again: ``%unload_ext farm_notebook``."""
    from farm_notebook.notebook.extension import unload

    unload(shell)
