"""What stands behind ``--image`` becomes an image, or an error that says what is valid."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
from IPython.display import Image as IPythonImage
from pytest_httpserver import HTTPServer

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.pictures import read_pictures

np: Any = pytest.importorskip("numpy")
ShownImage: Any = IPythonImage  # it has no types


def png(size: tuple[int, int] = (3, 2)) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", size, "red").save(file, format="PNG")
    return file.getvalue()


def size_of(value: object) -> tuple[int, int]:
    """Of the picture that a variable is read as."""
    (image,) = read_pictures(["picture"], {"picture": value})
    assert image.media_type == "image/png"
    return PIL.Image.open(io.BytesIO(image.data)).size


def message_of(source: str, **namespace: object) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        read_pictures([source], namespace)
    return str(caught.value)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").write_bytes(png())
    return tmp_path


def test_a_figure_and_its_axes_are_the_same_picture() -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1), dpi=50)
    axes = figure.subplots(1, 2)
    axes[0].plot([1, 2])
    assert size_of(figure) == size_of(axes[0]) == size_of(axes) == (100, 50)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((2, 3, 3), "uint8"),
        ((2, 3, 4), "uint8"),
        ((2, 3, 1), "uint8"),
        ((2, 3), "uint8"),
        ((2, 3), "bool"),
        ((2, 3, 3), "f4"),
    ],
)
def test_an_array_of_pixels_is_a_picture(shape: tuple[int, ...], dtype: str) -> None:
    assert size_of(np.ones(shape, dtype=dtype)) == (3, 2)


def test_floats_from_0_to_1_are_shades() -> None:
    (image,) = read_pictures(["x"], {"x": np.array([[0.0, 0.5, 1.0]])})
    assert list(PIL.Image.open(io.BytesIO(image.data)).tobytes()) == [0, 128, 255]


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 3, 5), "uint8"), np.zeros(4, "uint8"), np.full((2, 2), 7.5), np.zeros((0, 3), "uint8")],
)
def test_an_array_that_is_no_picture_is_told_its_shape(array: Any) -> None:
    message = message_of("x", x=array)
    assert f"--image x: An array of shape {array.shape} and type {array.dtype} is no picture" in message
    assert "height x width" in message


def test_pillow_bytes_and_what_ipython_shows_are_pictures() -> None:
    assert size_of(PIL.Image.new("L", (3, 2))) == size_of(png()) == size_of(ShownImage(data=png())) == (3, 2)


def test_a_variable_may_be_the_path_of_a_picture(here: Path) -> None:
    assert size_of(here / "a.png") == size_of("a.png") == (3, 2)


def test_a_name_may_go_on_and_stand_in_braces() -> None:
    namespace = {"pictures": {"cat": png()}}
    assert read_pictures(['pictures["cat"]'], namespace) == read_pictures(['{pictures["cat"]}'], namespace)


def test_a_file_is_read_where_no_variable_is_called_so(here: Path) -> None:
    assert read_pictures(["a.png"], {})[0].data == png()
    assert read_pictures(["a.png"], {"a": {"png": 1}})[0].data == png()


def test_several_pictures_keep_their_order(here: Path) -> None:
    images = read_pictures(["x", "a.png"], {"x": png((5, 5))})
    assert [image.data for image in images] == [png((5, 5)), png()]


def test_a_url_is_fetched_also_out_of_a_variable(httpserver: HTTPServer) -> None:
    httpserver.expect_request("/a.png").respond_with_data(png())
    url = httpserver.url_for("/a.png")
    assert read_pictures([url], {})[0].data == read_pictures(["place"], {"place": url})[0].data == png()


def test_what_is_nothing_is_quoted_with_what_is_near_and_what_is_valid(here: Path) -> None:
    message = message_of("figg", fig=1)
    assert "--image 'figg' is neither a variable of this notebook nor a file in" in message
    assert "Did you mean fig?" in message
    assert "the name of a matplotlib figure or axes" in message
    assert "--image 'figg'" in message_of("{figg}")


def test_a_variable_that_is_no_picture_is_named(here: Path) -> None:
    assert message_of("x", x=3).startswith("--image x: int is no image. Valid: ")
    assert message_of("x", x="gone.png").startswith(
        "--image x: The image 'gone.png' cannot be read: No such file"
    )
    (here / "a.txt").write_text("words")
    assert "is no image that models take" in message_of("a.txt")
