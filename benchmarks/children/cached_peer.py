"""One peer's cache, measured in a process of its own: ``python cached_peer.py NAME BYTES CALLS``.

Run as a script, so that a peer's own environment needs nothing of this project. Prints as JSON the seconds of
each of CALLS whole calls that are answered from the peer's cache on disk, after some that filled it; or
``{"missing": ...}`` where the peer is not installed.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, TypeAlias

PROMPT = "hello there, how are you?"

# From an answer and a folder to a function that asks once, and gives what it was answered. The model itself
# has another answer from the second time on.
Peer: TypeAlias = Callable[[], str]


def langchain_sqlite(text: str, folder: str) -> Peer:
    caches: Any = import_module("langchain_community.cache")
    models: Any = import_module("langchain_core.language_models")
    settings: Any = import_module("langchain_core.globals")
    settings.set_llm_cache(caches.SQLiteCache(f"{folder}/langchain.db"))
    model = models.FakeListChatModel(responses=[text, "the model was asked again"], cache=True)
    return lambda: str(model.invoke(PROMPT).content)


def litellm_disk(text: str, folder: str) -> Peer:
    litellm: Any = import_module("litellm")
    litellm.cache = litellm.Cache(type="disk", disk_cache_dir=folder)
    messages = [{"role": "user", "content": PROMPT}]
    answers = [text]

    def ask() -> str:
        said = answers.pop() if answers else "the model was asked again"
        reply = litellm.completion("openai/m", messages, api_key="x", mock_response=said, caching=True)
        return str(reply.choices[0].message.content)

    return ask


PEERS = {"langchain SQLiteCache": langchain_sqlite, "litellm disk cache": litellm_disk}


def main(name: str, size_bytes: int, calls: int) -> dict[str, Any]:
    """The seconds of each call.

    Raises:
        RuntimeError: The cache did not answer.
    """
    text = "word " * (size_bytes // 5)
    with tempfile.TemporaryDirectory() as folder:
        try:
            ask = PEERS[name](text, folder)
        except ImportError as error:
            return {"missing": str(error)}
        for _ in range(20):
            ask()
        taken = []
        for _ in range(calls):
            began = time.perf_counter()
            said = ask()
            taken.append(time.perf_counter() - began)
            if said != text:
                raise RuntimeError(f"{name} was not answered from its cache: {said!r:.60}")
    return {"seconds": taken}


if __name__ == "__main__":
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
