"""From what stands behind ``--image`` to an image that can be sent: a name of the notebook, a file, a URL."""

from __future__ import annotations

import difflib
import io
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from farm_notebook.errors import InvalidRequestError, MissingExtraError
from farm_notebook.images import as_image
from farm_notebook.notebook.interpolation import look_up
from farm_notebook.notebook.offers import own_names

if TYPE_CHECKING:
    from farm_notebook.types import Image

__all__ = ["read_pictures"]

_URL = re.compile(r"https?://", re.IGNORECASE)
_FIELD = re.compile(r"\{([^{}]+)\}")
_VALID = (
    "the name of a matplotlib figure or axes, of a Pillow image, of an array (height x width x 3, uint8), of "
    "the bytes or the path of a picture; a PNG, JPEG, GIF or WebP file; an http(s) URL of one"
)


def read_pictures(sources: Sequence[str], namespace: Mapping[str, object]) -> tuple[Image, ...]:
    """The pictures of some ``--image`` options; one that is at a URL is fetched, and waited for.

    Args:
        sources: Each a name, which may go on with ``.attribute`` and ``[constant]`` and may stand in braces;
            a path; or a URL. Of a name that is also a file's, the variable counts.
        namespace: Values by name.

    Raises:
        InvalidRequestError: Quoting what is no picture, and what is valid.
        MissingExtraError: An array needs Pillow.
    """
    return tuple(_of_name(source, namespace) for source in sources)


def _of_name(source: str, namespace: Mapping[str, object]) -> Image:
    field = _FIELD.fullmatch(source)
    try:
        value = look_up(field[1] if field else source, namespace)
    except LookupError:
        if field:
            raise InvalidRequestError(_unknown(field[1], namespace)) from None
        if not _URL.match(source) and not os.path.lexists(os.path.expanduser(source)):
            raise InvalidRequestError(_unknown(source, namespace)) from None
        return _of_place(source)
    try:
        return _of_place(value) if isinstance(value, str) else as_image(_as_source(value))
    except InvalidRequestError as error:
        raise InvalidRequestError(f"--image {source}: {error}") from None


def _of_place(place: str) -> Image:
    """The picture at a path or a URL."""
    if not _URL.match(place):
        return as_image(place)
    from farm_notebook import loop
    from farm_notebook.notebook.picture_url import fetch_picture

    return loop.run_blocking(fetch_picture(place))


def _as_source(value: Any) -> Any:
    """What ``as_image`` takes, in the place of what a notebook has: axes, arrays, IPython's own images."""
    numpy = sys.modules.get("numpy")  # whoever has an array has loaded it
    if numpy is not None and isinstance(value, numpy.ndarray):
        return _as_source(value.flat[0]) if value.dtype == object and value.size else _of_array(value, numpy)
    if hasattr(value, "savefig"):
        return value
    if hasattr(figure := getattr(value, "figure", None), "savefig"):  # axes, and seaborn's grids
        return figure
    if type(value).__module__ == "IPython.core.display":
        return value.data
    return value


def _of_array(array: Any, numpy: Any) -> bytes:
    """An array of pixels as PNG."""
    shape = array.shape
    is_picture = array.ndim == 2 or (array.ndim == 3 and shape[2] in (1, 3, 4))
    if is_picture and array.dtype.kind == "f" and array.size and array.min() >= 0 and array.max() <= 1:
        array = (array * 255).round().astype(numpy.uint8)
    if not is_picture or array.dtype not in (numpy.uint8, bool) or not array.size:
        raise InvalidRequestError(
            f"An array of shape {shape} and type {array.dtype} is no picture. Valid: height x width, or "
            "that x 3 or 4, of uint8 or of floats from 0 to 1."
        )
    try:
        import PIL.Image
    except ImportError as error:
        raise MissingExtraError(
            f"A picture of an array needs Pillow ({error}). Run: pip install pillow"
        ) from None
    pixels = array[:, :, 0] if array.ndim == 3 and shape[2] == 1 else array
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def _unknown(source: str, namespace: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(source, own_names(namespace), n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return (
        f"--image {source!r} is neither a variable of this notebook nor a file in {os.getcwd()!r}.{hint} "
        f"Valid: {_VALID}."
    )
