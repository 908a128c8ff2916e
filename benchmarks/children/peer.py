"""One client, measured in a process of its own: ``python peer.py NAME URL CALLS CHUNKS``.

Run as a script, so that a peer's own environment needs nothing of this project. Prints as JSON the seconds of
a streamed call of one chunk (mean of CALLS), and of a stream of CHUNKS; or ``{"missing": ...}`` where the
client is not installed. Each client is made once and kept, as its documentation advises.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeAlias

MESSAGES: list[Any] = [{"role": "user", "content": "go"}]

# From the URL of a server whose answers have a fixed number of chunks to a function that asks it once, and
# passes on the pieces of text.
Client: TypeAlias = Callable[[], AsyncIterator[str]]


def httpx2_json(url: str) -> Client:
    """By hand: lines, ``data:``, JSON, the text. The limit, not a peer."""
    import httpx2

    client = httpx2.AsyncClient(trust_env=False, timeout=None)

    async def ask() -> AsyncIterator[str]:
        rest = b""
        body = {"model": "m", "messages": MESSAGES, "stream": True}
        async with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
            async for chunk in response.aiter_raw():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.startswith(b"data: ") and line != b"data: [DONE]":
                        for choice in json.loads(line[6:])["choices"]:
                            if text := choice["delta"].get("content"):
                                yield text

    return ask


def httpx2_ndjson(url: str) -> Client:
    """By hand: lines, JSON, the text. The limit, not a peer."""
    import httpx2

    client = httpx2.AsyncClient(trust_env=False, timeout=None)

    async def ask() -> AsyncIterator[str]:
        rest = b""
        body = {"model": "m", "messages": MESSAGES, "stream": True}
        async with client.stream("POST", f"{url}/api/chat", json=body) as response:
            async for chunk in response.aiter_raw():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if text := json.loads(line)["message"]["content"]:
                        yield text

    return ask


def farm_openai(url: str) -> Client:
    from farm_notebook import AsyncFarm

    farm = AsyncFarm(openai={"base_url": f"{url}/v1", "api_key_env": None})
    return lambda: farm.stream("go", model="openai:m")


def farm_ollama(url: str) -> Client:
    from farm_notebook import AsyncFarm

    farm = AsyncFarm(ollama={"url": url})
    return lambda: farm.stream("go", model="ollama:llama3.2")


def openai_sdk(url: str) -> Client:
    import openai

    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0)

    async def ask() -> AsyncIterator[str]:
        stream = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        async for chunk in stream:
            for choice in chunk.choices:
                if choice.delta.content:
                    yield choice.delta.content

    return ask


def ollama_client(url: str) -> Client:
    import ollama

    client = ollama.AsyncClient(host=url)

    async def ask() -> AsyncIterator[str]:
        async for chunk in await client.chat(model="m", messages=MESSAGES, stream=True):
            if chunk.message.content:
                yield chunk.message.content

    return ask


def litellm(url: str) -> Client:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # or its import waits for a file from the internet
    import litellm

    async def ask() -> AsyncIterator[str]:
        stream = await litellm.acompletion(
            model="openai/m", api_base=f"{url}/v1", api_key="x", messages=MESSAGES, stream=True, max_retries=0
        )
        async for chunk in stream:
            if text := chunk.choices[0].delta.content:
                yield text

    return ask


def langchain_openai(url: str) -> Client:
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="m", base_url=f"{url}/v1", api_key="x", max_retries=0)

    async def ask() -> AsyncIterator[str]:
        async for chunk in model.astream("go"):
            if chunk.content:
                yield chunk.content

    return ask


def any_llm(url: str) -> Client:
    from any_llm import AnyLLM

    client = AnyLLM.create("openai", api_key="x", api_base=f"{url}/v1")

    async def ask() -> AsyncIterator[str]:
        async for chunk in await client.acompletion(model="m", messages=MESSAGES, stream=True):
            for choice in chunk.choices:
                if choice.delta.content:
                    yield choice.delta.content

    return ask


def pydantic_ai(url: str) -> Client:
    from pydantic_ai import direct
    from pydantic_ai.messages import ModelRequest, PartDeltaEvent, PartStartEvent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    model = OpenAIChatModel("m", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="x"))

    async def ask() -> AsyncIterator[str]:
        async with direct.model_request_stream(model, [ModelRequest.user_text_prompt("go")]) as stream:
            async for event in stream:
                if isinstance(event, PartStartEvent):
                    yield event.part.content
                elif isinstance(event, PartDeltaEvent):
                    yield event.delta.content_delta

    return ask


def chatlas(url: str) -> Client:
    from chatlas import ChatOpenAICompletions

    chat = ChatOpenAICompletions(base_url=f"{url}/v1", api_key="x", model="m")

    async def ask() -> AsyncIterator[str]:
        chat.set_turns([])
        async for text in await chat.stream_async("go"):
            yield text

    return ask


CLIENTS: dict[str, Callable[[str], Client]] = {
    "httpx2 + json": httpx2_json,
    "httpx2 + ndjson": httpx2_ndjson,
    "farm, openai": farm_openai,
    "farm, openai, in a cell": farm_openai,
    "farm, ollama": farm_ollama,
    "farm, ollama, in a cell": farm_ollama,
    "openai SDK": openai_sdk,
    "ollama client": ollama_client,
    "litellm": litellm,
    "langchain-openai": langchain_openai,
    "any-llm": any_llm,
    "pydantic-ai": pydantic_ai,
    "chatlas": chatlas,
}


async def measure(name: str, url: str, calls: int, chunks: int) -> dict[str, Any]:
    """Seconds of a call and of a stream, each after one that is not counted."""
    one, many = CLIENTS[name](f"{url}/1"), CLIENTS[name](f"{url}/{chunks}")
    taken: dict[str, Any] = {}
    for label, ask, times in (("call_s", one, calls), ("stream_s", many, 1)):
        await read(ask)
        begun = time.perf_counter()
        for _ in range(times):
            await read(ask)
        taken[label] = (time.perf_counter() - begun) / times
    return taken


async def read(ask: Client) -> None:
    """Take a whole answer, and see that it is one."""
    text = "".join([piece async for piece in ask()])
    if not text.startswith(" w000"):
        raise RuntimeError(f"The answer is {text[:100]!r}.")


def run(name: str, work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """On a loop of the caller's; what is called "in a cell" on the farm's own, where magics ask."""
    if not name.endswith("in a cell"):
        return asyncio.run(work)
    from farm_notebook import loop

    return loop.run_blocking(work)


def main() -> None:
    name, url, calls, chunks = sys.argv[1:]
    try:
        answer = run(name, measure(name, url, int(calls), int(chunks)))
    except ImportError as error:
        answer = {"missing": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
