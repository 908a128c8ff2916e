"""An environment that has what named packages bring along, and of all else that is installed here nothing.

It is made of links, which takes a moment and no network. Whatever runs in it is kept from connecting to
anything and from starting a process; that it tried is written down, in case somebody passed over the error.
"""

from __future__ import annotations

import json
import os
import sys
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from ipykernel.kernelspec import get_kernel_dict
from packaging.requirements import Requirement

import farm_notebook

__all__ = ["TRIED_ENV", "Bare", "make_bare"]

TRIED_ENV = "BARE_TRIED_FILE"
_GUARD = f"""\
import os, sys

REFUSED = ("socket.connect", "socket.getaddrinfo", "socket.gethostby", "socket.send", "subprocess.Popen",
    "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "pty.spawn")

def guard(event, args):
    if event.startswith(REFUSED) and args[:1] != ("uname",):  # platform asks it for the processor
        with open(os.environ[{TRIED_ENV!r}], "a") as file:
            print(event, args, file=file)
        raise RuntimeError(f"this environment is closed: {{event}} {{args}}")

sys.addaudithook(guard)
"""


@dataclass(frozen=True, slots=True)
class Bare:
    """Such an environment.

    Args:
        python: Its interpreter.
        jupyter_path: For ``JUPYTER_PATH``: its kernel there has the name of the usual one.
    """

    python: Path
    jupyter_path: Path


def make_bare(folder: Path, names: Iterable[str]) -> Bare:
    """Make one.

    Args:
        folder: Where it goes; it is made.
        names: Of packages that are installed here; what they require comes with them, extras do not.
    """
    venv.EnvBuilder(symlinks=True, with_pip=False).create(folder)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / version / "site-packages"
    for found in _with_requirements(names):
        _link(found, packages)
    ours = packages / farm_notebook.__name__
    if not ours.exists():  # installed in place, of which no file tells
        ours.symlink_to(Path(farm_notebook.__file__).parent)
    (packages / "sitecustomize.py").write_text(_GUARD)
    python = folder / "bin" / "python"
    kernel = folder / "share" / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = get_kernel_dict()
    spec["argv"][0] = str(python)
    (kernel / "kernel.json").write_text(json.dumps(spec))
    return Bare(python, kernel.parents[1])


def _with_requirements(names: Iterable[str]) -> list[Distribution]:
    found: dict[str, Distribution] = {}
    open_names = [*names]
    while open_names:
        if (name := open_names.pop()) not in found:
            found[name] = distribution(name)
            wanted = map(Requirement, found[name].requires or ())
            open_names += [
                each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})
            ]
    return [*found.values()]


def _link(found: Distribution, packages: Path) -> None:
    """Packages are linked as a whole, with what is compiled of them; of what several share, single files."""
    for file in found.files or ():
        top = file.parts[0]
        if top == ".." or top.endswith(".pth"):
            continue
        source, target = Path(str(found.locate_file(top))), packages / top
        if len(file.parts) > 1 and not ((source / "__init__.py").exists() or top.endswith(".dist-info")):
            source, target = Path(str(found.locate_file(file))), packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            os.symlink(source, target)
