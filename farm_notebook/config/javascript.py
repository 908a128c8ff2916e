"""Evaluates a JavaScript configuration with the user's own node, in such a way that no secret is read.

The program gets no variables but those that node needs. Each one that it asks for is a placeholder in a first
run, so that what it is used for can be seen, and nothing in a second one, which shows what holds without it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

from farm_notebook.config.masking import without_keys
from farm_notebook.errors import ConfigError

__all__ = ["PROGRAMS", "evaluate", "find_node", "placeholders"]

PROGRAMS = (".js", ".mjs", ".cjs")
TIMEOUT_S = 60.0
_PLACEHOLDER = re.compile(r"\x01env:([^\x01]*)\x01")
_KEPT_VARIABLES = ("PATH", "HOME", "SYSTEMROOT", "TEMP", "TMP")  # what node itself needs

_RUN = """
const [file, mark, placed] = process.argv.slice(1);
const show = console.error; console.log = console.info = console.debug = console.warn = show;
const ask = (_, name) => (placed && typeof name === "string" ? `\\u0001env:${name}\\u0001` : undefined);
Object.defineProperty(process, "env", {value: new Proxy({}, {
  get: ask, has: (_, name) => Boolean(placed), set: () => true, deleteProperty: () => true,
  defineProperty: () => true, ownKeys: () => [],
})});
const plain = (_, value) => typeof value === "function" ? {$function: value.name || "anonymous"}
  : typeof value === "bigint" ? Number(value) : value;
const told = {};
try {
  const {pathToFileURL} = await import("node:url");
  const {readFileSync} = await import("node:fs");
  let module;
  try {
    module = await import(pathToFileURL(file).href);
  } catch (error) {  // an older node takes a .js without a package.json for no module
    if (!(error instanceof SyntaxError) || !file.endsWith(".js")) throw error;
    module = await import("data:text/javascript;base64," + readFileSync(file).toString("base64"));
  }
  let value = module.default ?? module;
  value = value?.default ?? value;
  if (typeof value === "function") value = value({command: "serve", mode: "development"});
  told.value = await value;
} catch (error) {
  told.error = `${error?.name ?? "Error"}: ${error?.message ?? error}`; told.code = error?.code;
}
process.stdout.write(`\\n${mark}${JSON.stringify(told, plain)}\\n`);
process.exit(0);
"""


def find_node() -> str | None:
    """The node that a shell would run, where there is one."""
    return shutil.which("node")


def placeholders(value: Any) -> list[str]:
    """The variables of which a value, or what is in it, is made."""
    if isinstance(value, Mapping | list):
        inner = value.values() if isinstance(value, Mapping) else value
        return [name for one in inner for name in placeholders(one)]
    return _PLACEHOLDER.findall(value) if isinstance(value, str) else []


def evaluate(path: Path, node: str, *, with_placeholders: bool) -> Any:
    """What a program exports: by ``export default`` or ``module.exports``, a value, a promise or a function.

    Args:
        path: The program.
        node: Who runs it.
        with_placeholders: Whether variables hold a placeholder each, or nothing.

    Raises:
        ConfigError: It fails, does not end, or exports nothing.
    """
    mark = token_hex(16)
    arguments = [str(path.resolve()), mark, *(["placed"] if with_placeholders else [])]
    try:
        out, code = _run([node, "--input-type=module", "-e", _RUN, "--", *arguments], path.resolve().parent)
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{path} did not end within {TIMEOUT_S:g} s.") from None
    except OSError as error:
        raise ConfigError(f"{node} cannot be run: {error.strerror or error}.") from None
    line = re.search(f"^{mark}(.*)$", out.decode("utf-8", "replace"), re.MULTILINE)
    if line is None:
        raise ConfigError(f"{path} ended node with exit code {code}, and exported nothing.")
    told = json.loads(line[1])
    if "error" in told:
        raise ConfigError(_failure(path, told["error"], told.get("code")))
    return told.get("value")


def _run(command: list[str], folder: Path) -> tuple[bytes, int]:
    """What a command writes, and its exit code. Where it takes too long, all of it is ended."""
    with subprocess.Popen(
        command,
        cwd=folder,
        env={name: value for name in _KEPT_VARIABLES if (value := os.environ.get(name))},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            out, _ = process.communicate(timeout=TIMEOUT_S)
        except BaseException:
            if sys.platform == "win32":
                process.kill()
            else:
                os.killpg(
                    process.pid, signal.SIGKILL
                )  # it is not waited for yet, so the group is still its own
            raise
        return out, process.returncode


def _failure(path: Path, error: str, code: str | None) -> str:
    words = without_keys(" ".join(error.split()))
    if code in ("ERR_MODULE_NOT_FOUND", "MODULE_NOT_FOUND"):
        return (
            f"{path} imports what is not installed here ({words}). Install it there, or take the import out: "
            "a helper such as defineConfig(...) only gives back what it is given, so its argument can be "
            "exported as it is."
        )
    return f"{path} cannot be evaluated: {words}."
