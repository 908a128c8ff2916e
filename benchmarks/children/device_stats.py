"""Read this machine's devices again and again. Arguments: how often, and how often before that unmeasured.

Answers with one JSON object: what a reading took by the clock and of the processor, the first apart; how long
the memory's bare figures take; which GPUs there were.
"""

import json
import sys
import time
from collections.abc import Callable

import psutil

from farm_notebook.devices import device_stats


def main() -> None:
    count, warm_up = map(int, sys.argv[1:])
    first_s = _seconds(device_stats)
    for _ in range(warm_up):
        device_stats()
    began_s = time.process_time()
    taken_s = [_seconds(device_stats) for _ in range(count)]
    processor_s = (time.process_time() - began_s) / count
    bare_s = [_seconds(psutil.virtual_memory) for _ in range(count)]
    answer = {
        "first_s": first_s,
        "taken_s": taken_s,
        "processor_s": processor_s,
        "bare_s": bare_s,
        "gpus": [each.name for each in device_stats() if each.kind != "cpu"],
    }
    print(json.dumps(answer), flush=True)


def _seconds(call: Callable[[], object]) -> float:
    began_s = time.perf_counter()
    call()
    return time.perf_counter() - began_s


if __name__ == "__main__":
    main()
