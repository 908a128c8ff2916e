"""The file of a cassette: read as it is, written whole or not at all, by one process at a time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from farm_notebook.cassettes.lines import Contents, Line, in_order, read_text, write_text
from farm_notebook.errors import CassetteError
from farm_notebook.types import Image

__all__ = ["SUFFIX", "CassetteFile", "default_path"]

SUFFIX = ".farm.jsonl"
LOCK_WAIT_S = 30.0  # a write takes milliseconds


def default_path(notebook: Path) -> Path:
    """The cassette of a notebook: ``NAME.farm.jsonl`` beside ``NAME.ipynb``."""
    return notebook.with_name(notebook.stem + SUFFIX)


class CassetteFile:
    """One file; any thread may use it.

    Args:
        path: Where it is, or will be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        self._seen: tuple[object, Contents] = (None, Contents())

    @property
    def pictures(self) -> Path:
        """The folder of the images that are asked about, each named by its digest."""
        return self.path.with_name(self.path.name.removesuffix(".jsonl") + ".images")

    @property
    def version(self) -> object:
        """Another value whenever the file may be another one; ``None`` where there is none."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def read(self) -> Contents:
        """What it holds; nothing where it is not there.

        Raises:
            CassetteError: It cannot be read; says where and why.
        """
        version = self.version
        if version != self._seen[0]:
            try:
                self._seen = version, read_text(self.path.read_bytes())
            except FileNotFoundError:
                return Contents()
            except (ValueError, OSError) as error:
                raise CassetteError(f"The cassette {str(self.path)!r} cannot be read: {error}.") from None
        return self._seen[1] if version is not None else Contents()

    def change(self, change: Callable[[tuple[Line, ...]], Iterable[Line]], *, always: bool = False) -> None:
        """Write it anew, with what any other process wrote meanwhile.

        Args:
            change: From the lines that it holds to those that it is to hold.
            always: Also where that changes none of them.

        Raises:
            CassetteError: It cannot be read or written; what it held is left as it is.
        """
        try:
            with FileLock(_lock_path(self.path), timeout=LOCK_WAIT_S):
                contents = self.read()
                lines = in_order(change(contents.lines))
                if always or lines != contents.lines or contents.problems or self.version is None:
                    _replace(self.path, write_text(lines))
                    self._seen = self.version, Contents(lines)
        except Timeout:
            raise CassetteError(f"Another process keeps the cassette {str(self.path)!r} locked.") from None
        except OSError as error:
            raise CassetteError(f"The cassette {str(self.path)!r} cannot be written: {error}.") from None

    def write_anew(self) -> None:
        """Write it as it should be: in order, and without what was passed over in reading it.

        Raises:
            CassetteError: As ``change``.
        """
        self.change(lambda lines: lines, always=True)

    def keep_pictures(self, pictures: Iterable[Image]) -> None:
        """Put images into their folder, where they are not there yet.

        Raises:
            CassetteError: They cannot be written.
        """
        for picture in pictures:
            path = self.pictures / picture_name(picture)
            if not path.exists():
                try:
                    self.pictures.mkdir(exist_ok=True)
                    _replace(path, picture.data)
                except OSError as error:
                    raise CassetteError(f"The image {str(path)!r} cannot be written: {error}.") from None

    def drop_pictures(self) -> int:
        """Delete images that no call asks about any more; how many they were.

        Raises:
            CassetteError: The cassette cannot be read.
        """
        used = "\n".join(line.text for line in self.read().lines)
        names = self.pictures.glob("*.*") if self.pictures.is_dir() else ()
        unused = [path for path in names if path.stem not in used]
        for path in unused:
            path.unlink(missing_ok=True)
        return len(unused)


def picture_name(picture: Image) -> str:
    """The name of an image's file."""
    return f"{picture.digest}.{picture.media_type.removeprefix('image/')}"


def _replace(path: Path, content: bytes) -> None:
    """Have a file hold something else; whoever reads it finds the one or the other, whole."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(name, path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _umask() -> int:
    """What new files of this process are not allowed; it can only be read by setting it."""
    umask = os.umask(0o022)
    os.umask(umask)
    return umask


def _lock_path(path: Path) -> Path:
    """Not beside the file, where it would be in the way of whoever keeps that in a repository."""
    folder = platformdirs.user_cache_path("farm-notebook", appauthor=False) / "locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir())
    return folder / f"{hashlib.sha256(str(path).encode()).hexdigest()[:24]}.lock"
