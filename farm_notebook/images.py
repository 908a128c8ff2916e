"""From what a user has at hand to an ``Image`` that can be sent: bytes, a file, a picture, a figure.

What a picture is, is told by its first bytes, never by its name.
"""

from __future__ import annotations

import io
import os
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


@runtime_checkable
class Picture(Protocol):
    """An image of Pillow, or what saves itself in the same way."""

    def save(self, file: io.BytesIO, format: str) -> Any: ...


@runtime_checkable
class Figure(Protocol):
    """A figure of matplotlib, or what saves itself in the same way."""

    def savefig(self, file: io.BytesIO, *, format: str) -> Any: ...


ImageSource: TypeAlias = Image | bytes | str | os.PathLike[str] | Picture | Figure


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
    if isinstance(source, bytes):
        return _sniffed(source, f"{len(source):,} bytes")
    if isinstance(source, str | os.PathLike):
        path = Path(os.path.expanduser(source))
        try:
            return _sniffed(path.read_bytes(), repr(str(path)))
        except (OSError, ValueError) as error:
            raise InvalidRequestError(f"The image {str(source)!r} cannot be read: {error}.") from None
    file = io.BytesIO()
    if isinstance(source, Figure):
        source.savefig(file, format="png")
    elif isinstance(source, Picture):
        source.save(file, format="PNG")
    else:
        raise InvalidRequestError(
            f"{type(source).__name__} is no image. Valid: the path or the bytes of a PNG, JPEG, GIF or WebP "
            "file, a Pillow image, a matplotlib figure."
        )
    return Image(file.getvalue(), "image/png")


def _sniffed(data: bytes, what: str) -> Image:
    for signature, media_type in _SIGNATURES:
        if data.startswith(signature):
            return Image(data, media_type)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return Image(data, "image/webp")
    raise InvalidRequestError(f"{what} is no image that models take. Valid: PNG, JPEG, GIF, WebP.")
