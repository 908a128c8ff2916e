"""Whatever a user has at hand becomes an image that can be sent, or an error that quotes it."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from farm_notebook.errors import InvalidRequestError
from farm_notebook.images import as_image
from farm_notebook.types import Image, ImageType


def saved(format_: str, mode: str = "RGB") -> bytes:
    """A real picture of two by two pixels."""
    file = io.BytesIO()
    PIL.Image.new(mode, (2, 2)).save(file, format=format_)
    return file.getvalue()


PNG = saved("PNG")
FORMATS: list[tuple[str, ImageType]] = [
    ("PNG", "image/png"),
    ("JPEG", "image/jpeg"),
    ("GIF", "image/gif"),
    ("WEBP", "image/webp"),
]


def message_of(source: Any) -> str:
    """The error's message for what no type checker would let through."""
    with pytest.raises(InvalidRequestError) as caught:
        as_image(source)
    return str(caught.value)


@pytest.mark.parametrize(("format_", "media_type"), FORMATS)
def test_what_a_picture_is_is_told_by_its_bytes_and_not_by_its_name(
    format_: str, media_type: ImageType, tmp_path: Path
) -> None:
    data, path = saved(format_), tmp_path / "picture.txt"
    path.write_bytes(data)
    assert as_image(data) == as_image(path) == as_image(str(path)) == Image(data, media_type)


def test_bytes_may_be_any_of_pythons_kinds() -> None:
    assert as_image(bytearray(PNG)) == as_image(memoryview(PNG)) == as_image(PNG)


def test_a_path_may_begin_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a.png").write_bytes(PNG)
    assert as_image("~/a.png") == as_image(Path("~/a.png")) == as_image(PNG)


def test_an_image_stays_as_it_is() -> None:
    image = Image(PNG, "image/png")
    assert as_image(image) is image


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1"])
def test_a_pillow_image_becomes_png(mode: str) -> None:
    image = as_image(PIL.Image.new(mode, (3, 2)))
    assert image.media_type == "image/png"
    assert PIL.Image.open(io.BytesIO(image.data)).size == (3, 2)


def test_a_pillow_image_that_png_cannot_hold_is_an_error_with_the_fix() -> None:
    message = message_of(PIL.Image.new("CMYK", (2, 2)))
    assert "does not save itself as PNG" in message
    assert "image.convert('RGB')" in message


def test_a_matplotlib_figure_becomes_png() -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1, 1), dpi=50)
    figure.subplots().plot([1, 2])
    image = as_image(figure)
    assert image.media_type == "image/png"
    assert PIL.Image.open(io.BytesIO(image.data)).size == (50, 50)


def test_what_saves_something_else_is_no_image() -> None:
    class Document:
        def save(self, file: io.BytesIO, format: str) -> None:
            file.write(b"%PDF-1.7")

    assert "What Document saved is no image that models take" in message_of(Document())


@pytest.mark.parametrize("data", [b"", b"%PDF-1.7", b"<svg/>", b"RIFF....WAVE", b"\x89PNG"], ids=repr)
def test_bytes_that_are_no_image_are_quoted_with_what_is_valid(data: bytes, tmp_path: Path) -> None:
    assert repr(data[:12]) in message_of(data)
    path = tmp_path / "wrong.png"
    path.write_bytes(data)
    message = message_of(path)
    assert repr(str(path)) in message
    assert "Valid: PNG, JPEG, GIF, WebP" in message


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("missing.png", ["'missing.png'", "No such file"]),
        ("a\0b.png", ["'a\\x00b.png'", "null"]),
        ("~nobody-of-this-name/a.png", ["'~nobody-of-this-name/a.png'", "No such file"]),
        ("https://example.org/a.png", ["'https://example.org/a.png' is a URL", "give its bytes or its file"]),
        ("data:image/png;base64," + "A" * 500, ["'data:image/png;base64,AAA", "...' is a URL"]),
        (os.devnull, [repr(os.devnull), "no file, but a folder or a device"]),
        (3, ["int is no image", "path", "bytes", "Pillow", "matplotlib"]),
        ([PNG], ["list is no image"]),
        (None, ["NoneType is no image"]),
    ],
    ids=lambda value: str(value)[:30] if not isinstance(value, list) else "",
)
def test_what_is_no_image_is_quoted_with_what_is_valid(source: Any, words: list[str]) -> None:
    message = message_of(source)
    assert [word for word in words if word not in message] == []
    assert len(message) < 300


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    assert f"{str(tmp_path)!r} is no file, but a folder or a device" in message_of(tmp_path)


def test_an_image_shows_what_it_is_and_not_its_bytes() -> None:
    image = Image(PNG, "image/png")
    assert repr(image) == f"Image('image/png', {len(PNG)} bytes, sha256={image.digest[:12]!r})"
    assert image.digest == hashlib.sha256(PNG).hexdigest()
    assert image.data_url == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
