"""From what a user has at hand to an ``Image`` that can be sent: bytes, a file, a picture, a figure.

What a picture is, is told by its first bytes, never by its name.
"""

from __future__ import annotations

import io
import os
import re
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from farm_notebook.errors import InvalidRequestError
from farm_notebook.types import Image, ImageType

__all__ = ["ImageSource", "as_image"]

_SIGNATURES: tuple[tuple[bytes, ImageType], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:(//|image/)")
_VALID = (
    "the path or the bytes of a PNG, JPEG, GIF or WebP file, a Pillow image, a matplotlib figure, "
    "or a list of these"
)


@runtime_checkable
class Picture(Protocol):
    """An image of Pillow, or what saves itself in the same way."""

    def save(self, file: io.BytesIO, /, format: str) -> Any: ...


@runtime_checkable
class Figure(Protocol):
    """A figure of matplotlib, or what saves itself in the same way."""

    def savefig(self, file: io.BytesIO, /, *, format: str) -> Any: ...


ImageSource: TypeAlias = Image | bytes | bytearray | memoryview | str | os.PathLike[str] | Picture | Figure


def as_image(source: ImageSource) -> Image:
    """A picture ready to be sent.

    Args:
        source: The bytes of a PNG, JPEG, GIF or WebP file, the path of one, a Pillow image or a matplotlib
            figure (which become PNG).

    Raises:
        InvalidRequestError: Quoting what was given, and what is valid.
    """
    if isinstance(source, Image):
        return source
    if isinstance(source, bytes | bytearray | memoryview):
        return _sniffed(bytes(source), f"What begins with {bytes(source[:12])!r}")
    if isinstance(source, str | os.PathLike):
        return _of_file(os.fspath(source))
    return Image(_saved(source), "image/png")


def _of_file(name: str | bytes) -> Image:
    name = os.fsdecode(name)
    if _URL.match(name):
        short = name if len(name) <= 80 else f"{name[:80]}..."
        raise InvalidRequestError(f"The image {short!r} is a URL. Fetch it, and give its bytes or its file.")
    path = Path(os.path.expanduser(name))
    try:
        is_odd = path.exists() and not path.is_file()  # a device or a pipe might be read for ever
        data = b"" if is_odd else path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise InvalidRequestError(f"The image {name!r} cannot be read: {reason}.") from None
    if is_odd:
        raise InvalidRequestError(f"The image {name!r} is no file, but a folder or a device.")
    return _sniffed(data, f"The file {name!r}")


def _saved(source: object) -> bytes:
    """The PNG that an object makes of itself."""
    file = io.BytesIO()
    if isinstance(source, Figure):
        save = partial(source.savefig, file, format="png")
    elif isinstance(source, Picture):
        save = partial(source.save, file, format="PNG")
    else:
        raise InvalidRequestError(f"{type(source).__name__} is no image. Valid: {_VALID}.")
    try:
        save()
    except (OSError, TypeError, ValueError, SystemError) as error:
        raise InvalidRequestError(
            f"{type(source).__name__} does not save itself as PNG: {error}. "
            "Convert it first; a Pillow image with image.convert('RGB')."
        ) from None
    return _sniffed(file.getvalue(), f"What {type(source).__name__} saved").data


def _sniffed(data: bytes, what: str) -> Image:
    for signature, media_type in _SIGNATURES:
        if data.startswith(signature):
            return Image(data, media_type)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Image(data, "image/webp")
    raise InvalidRequestError(f"{what} is no image that models take. Valid: PNG, JPEG, GIF, WebP.")
