"""What runs in the child process: one llama.cpp server for one model, gone when its parent is.

It is run as a script and imports nothing of this package. The first line of standard input is a JSON
object (see ``ServerSpec.as_settings``); the first line of standard output answers with
``{"port": N}`` or ``{"error": "..."}``. End of standard input means that the parent has gone.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
from typing import Any

PARENT_CHECK_S = 1.0
PR_SET_PDEATHSIG = 1  # Linux, prctl(2)


def main() -> None:
    """Load the model, report the port, and serve until the parent closes standard input."""
    settings: dict[str, Any] = json.loads(sys.stdin.buffer.raw.readline())  # type: ignore[union-attr]  # raw: no read-ahead
    die_with_parent(settings["parent_pid"])
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever llama.cpp prints is a log line, not an answer to the parent
    try:
        server = serve(settings)
    except Exception as error:  # noqa: BLE001 - whatever went wrong is told to the parent, which types it
        print(json.dumps({"error": f"{error}"}), file=report, flush=True)
        os._exit(1)
    port = int(server.listening_address.rsplit(":", 1)[1])
    print(json.dumps({"port": port}), file=report, flush=True)
    wait_for_parent_to_go(settings["parent_pid"])
    os._exit(0)  # the server's destructor would finish its work in progress first


def serve(settings: dict[str, Any]) -> Any:
    """A listening llama.cpp server; its constructor returns once the model is loaded."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = settings["weights"]
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(path, 1.0) for path in settings["adapters"]]
    if settings["projector"] and not settings["embedding"]:
        params.mmproj.path = settings["projector"]
    if not settings["is_mapped"]:
        params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_NONE
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings["key"]]
    params.ui = False
    params.verbosity = 1
    params.n_parallel = settings["parallel"]
    params.kv_unified = True  # else each slot has but its part of the context
    params.cache_ram_mib = 0  # else up to 8 GiB of what was read in earlier requests are kept
    params.n_ctx = settings["context_tokens"]
    params.n_batch = params.n_ubatch = settings["batch_tokens"]
    params.n_gpu_layers = settings["gpu_layers"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings["threads"]
    if settings["embedding"]:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return xllamacpp.Server(params)


def die_with_parent(parent_pid: int) -> None:
    """On Linux, have the kernel kill this process with its parent, even while a model loads."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            os._exit(0)


def wait_for_parent_to_go(parent_pid: int) -> None:
    """Return when standard input ends or, where something else holds it open, the parent is another."""
    if sys.platform == "win32":
        sys.stdin.buffer.read()
        return
    with contextlib.suppress(OSError):
        while os.getppid() == parent_pid:
            readable, _, _ = select.select([0], [], [], PARENT_CHECK_S)
            if readable and not os.read(0, 4096):
                return


if __name__ == "__main__":
    main()
