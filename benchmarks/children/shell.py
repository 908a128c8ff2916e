"""A plain IPython shell in a fresh process, and with the argument ``load`` the extension in it.

Answers with one JSON object: milliseconds, and which of the packages that must not load did.
"""

import json
import sys
import time

WATCHED = ("torch", "transformers", "openai", "ipywidgets", "pydantic", "httpx2")


def main() -> None:
    begun = time.perf_counter()
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell.instance()
    made = time.perf_counter()
    before = set(sys.modules)
    print("farm: loading", file=sys.stderr)  # parts -X importtime's report in two
    if "load" in sys.argv:
        shell.run_line_magic("load_ext", "farm_notebook")
    loaded = time.perf_counter()
    if "load" in sys.argv and "farm_chat" not in shell.magics_manager.magics["cell"]:
        sys.exit("%load_ext farm_notebook did not add the magic")
    answer = {
        "shell_ms": (made - begun) * 1e3,
        "load_ms": (loaded - made) * 1e3,
        "modules": len(set(sys.modules) - before),
        "watched": [name for name in WATCHED if name in sys.modules],
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
