"""The embedded model with nothing around it: load it in this process, and wait for its first word.

Arguments: the model's path, context tokens, batch tokens, threads, the prompt. Answers with one JSON object.
"""

import json
import sys
import time
from typing import Any


def main() -> None:
    path, context, batch, threads, prompt = sys.argv[1:]
    begun = time.perf_counter()
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.ui = False
    params.verbosity = 1
    params.n_parallel = 1
    params.n_ctx = int(context)
    params.n_batch = params.n_ubatch = int(batch)
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(threads)
    imported = time.perf_counter()
    server = xllamacpp.Server(params)
    loaded = time.perf_counter()
    first: list[float] = []

    def take(chunk: dict[str, Any]) -> None:
        if not first and any((choice.get("delta") or {}).get("content") for choice in chunk["choices"]):
            first.append(time.perf_counter())

    messages = [{"role": "user", "content": prompt}]
    body = {"messages": messages, "stream": True, "temperature": 0, "max_tokens": 8}
    server.handle_chat_completions(body, take)
    answer = {"import_s": imported - begun, "load_s": loaded - imported, "first_s": first[0] - loaded}
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
