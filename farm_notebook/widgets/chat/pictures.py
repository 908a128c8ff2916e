"""Pictures of a conversation: what a page sends as one, and the small one that it gets to show."""

from __future__ import annotations

import binascii
import io
from base64 import b64decode
from collections.abc import Sequence

from farm_notebook.errors import InvalidRequestError
from farm_notebook.images import as_image
from farm_notebook.types import Image

__all__ = ["Thumbnails", "picture", "pictures"]

LARGEST_BYTES = 5_000_000
MOST = 8  # in one question
SIDE_PX = 320  # of a thumbnail, at most
SHOWN_WHOLE_BYTES = 60_000  # a smaller file is its own thumbnail
MOST_KEPT = 256


def pictures(sent: Sequence[str]) -> tuple[Image, ...]:
    """What a page sends with a question.

    Args:
        sent: Files, each as Base64.

    Raises:
        InvalidRequestError: They are too many, too large, or no pictures that models take.
    """
    if len(sent) > MOST:
        raise InvalidRequestError(f"{len(sent)} pictures are too many for one question. Send at most {MOST}.")
    return tuple(map(picture, sent))


def picture(sent: str) -> Image:
    """One of them.

    Raises:
        InvalidRequestError: As ``pictures``.
    """
    size_bytes = len(sent) * 3 // 4
    if size_bytes > LARGEST_BYTES:
        raise InvalidRequestError(
            f"The picture has {size_bytes / 1e6:.1f} MB; at most {LARGEST_BYTES / 1e6:.0f} MB are sent. "
            "Make it smaller."
        )
    try:
        data = b64decode(sent, validate=True)
    except binascii.Error as error:
        raise InvalidRequestError(f"The picture did not arrive whole: {error}.") from None
    return as_image(data)


class Thumbnails:
    """The small pictures that a page shows, made once each."""

    def __init__(self) -> None:
        self._made: dict[int, str | None] = {}  # by the images' hashes, which are computed once each

    def get(self, image: Image) -> str | None:
        """A ``data:`` URL; ``None`` where there is none, or none yet."""
        if len(image.data) <= SHOWN_WHOLE_BYTES:
            return image.data_url
        return self._made.get(hash(image))

    def lacks(self, image: Image) -> bool:
        """Whether ``make`` could bring about something to show."""
        return len(image.data) > SHOWN_WHOLE_BYTES and hash(image) not in self._made

    def make(self, image: Image) -> None:
        """Make one. It takes a while, so it is not done on an event loop."""
        self._made[hash(image)] = _small(image)
        while len(self._made) > MOST_KEPT:
            del self._made[next(iter(self._made))]


def _small(image: Image) -> str | None:
    """Needs Pillow, which whoever draws figures has; without it a page shows no picture, but says so."""
    try:
        from PIL import Image as Pillow

        with Pillow.open(io.BytesIO(image.data)) as opened:
            opened.draft("RGB", (SIDE_PX, SIDE_PX))
            opened.thumbnail((SIDE_PX, SIDE_PX))
            file = io.BytesIO()
            opened.convert("RGBA").save(file, "PNG")
    except Exception:  # noqa: BLE001 - Pillow is missing, or what it raises for a broken or huge picture
        return None
    return Image(file.getvalue(), "image/png").data_url
