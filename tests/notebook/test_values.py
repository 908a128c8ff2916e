"""How values read in a prompt."""

from __future__ import annotations

import linecache
import os
import subprocess
import sys
import traceback
import types
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook.notebook.tracebacks import describe_error
from farm_notebook.notebook.values import as_text

pd: Any = pytest.importorskip("pandas")
np: Any = pytest.importorskip("numpy")


@pytest.fixture
def plt() -> Any:
    matplotlib: Any = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as pyplot

    yield pyplot
    pyplot.close("all")


def run_as_cell(source: str) -> dict[str, Any]:
    """Run source as IPython runs a cell: its lines are in ``linecache``, its module has no file."""
    name = f"<cell {hash(source)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {"__name__": "a_module_without_file"}
    exec(compile(source, name, "exec"), namespace)
    return namespace


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@given(st.text())
def test_text_is_itself(text: str) -> None:
    assert as_text(text) == text


def test_long_text_is_never_cut() -> None:
    text = "x" * 100_000
    assert as_text(text) == text
    assert as_text(np.str_(text)) == text


def test_a_reply_is_its_text() -> None:
    reply = type("Reply", (), {"__module__": "farm_notebook.reply", "text": "the answer"})
    assert as_text(reply()) == "the answer"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, "3"), (2.5, "2.5"), (True, "True"), (1j, "1j"), (Decimal("1.50"), "1.50"), (None, "None")],
)
def test_numbers_read_as_printed(value: object, expected: str) -> None:
    assert as_text(value) == expected


def test_numpy_scalars_read_as_numbers() -> None:
    assert [as_text(value) for value in (np.float64(1.5), np.int8(3), np.bool_(True))] == ["1.5", "3", "True"]


def test_a_function_of_a_cell_is_its_source() -> None:
    source = "def double(n):\n    return 2 * n"
    assert as_text(run_as_cell(source)["double"]) == source


def test_a_class_of_a_cell_is_its_source_with_its_decorators() -> None:
    source = "@(lambda cls: cls)\nclass Point:\n    def norm(self):\n        return 0"
    assert as_text(run_as_cell(f"import math\n{source}\n\nclass Other: pass\n")["Point"]) == source


def test_a_method_is_its_source_without_the_indent() -> None:
    assert as_text(Unprintable.__repr__) == 'def __repr__(self) -> str:\n    raise RuntimeError("no")'


def test_what_has_no_source_and_what_a_library_defined_is_its_repr() -> None:
    no_methods = run_as_cell("class Empty: pass")["Empty"]
    for value in (
        no_methods,
        len,
        int,
        os.path.join,
        pytest.raises,
        run_as_cell("f = eval('lambda: 1')")["f"],
    ):
        assert as_text(value) == repr(value)


def test_an_exception_is_its_type_and_message() -> None:
    assert as_text(ValueError("bad")) == "ValueError: bad"
    assert as_text(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_a_value_whose_repr_raises_says_so() -> None:
    assert as_text(Unprintable()) == "<Unprintable: its repr failed>"
    assert as_text([Unprintable()]) == "<list: its repr failed>"


def test_an_interrupt_during_a_repr_is_raised() -> None:
    class Interrupted:
        def __repr__(self) -> str:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        as_text(Interrupted())


def test_bytes_are_their_length_and_first_bytes() -> None:
    assert as_text(b"\x00ab") == r"bytes, 3 long: b'\x00ab'"
    assert as_text(bytearray(5000)).startswith("bytes, 5,000 long: b'\\x00")
    assert as_text(memoryview(b"z" * 65)).endswith("z' ...")


@pytest.mark.parametrize("with_ipython", [True, False])
def test_containers_are_laid_out_and_keep_their_order(
    with_ipython: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if with_ipython:
        pytest.importorskip("IPython.lib.pretty")
    else:
        monkeypatch.delitem(sys.modules, "IPython.lib.pretty", raising=False)
    assert as_text({"b": 1, "a": [2, (3,)]}) == "{'b': 1, 'a': [2, (3,)]}"
    assert as_text({"key": ["word " * 12] * 3}).count("\n") == 2


def test_a_long_container_is_cut_and_says_by_how_much() -> None:
    assert as_text([11] * 50_000) == "[" + "11, " * 999 + "11,\n... (196,000 more characters)"


def test_a_container_short_enough_to_lay_out_is_cut_too() -> None:
    shown, _, note = as_text([11] * 5_000).rpartition("\n")
    assert len(shown) == 4_000
    assert note.endswith(" more characters)")


def test_a_frame_is_its_size_types_and_first_rows() -> None:
    frame = pd.DataFrame({"n": range(1000), "t": 0.5, "word": "w", "long": "y" * 200})
    lines = as_text(frame).splitlines()
    assert lines[0] == "DataFrame, 1,000 rows x 4 columns"
    assert lines[1].startswith("columns: n (int64), t (float64), word (")
    assert lines[2] == "first 10 rows:"
    assert [line.split()[:3] for line in lines[4:]] == [[str(n), str(n), "0.5"] for n in range(10)]
    assert len({len(line) for line in lines[3:]}) == 1
    assert "y" * 76 + "..." in lines[4]
    assert "y" * 81 not in lines[4]


def test_a_wide_frame_shows_twenty_columns_and_counts_the_rest() -> None:
    text = as_text(pd.DataFrame(np.zeros((2, 30))))
    assert "19 (float64), and 10 more\n" in text
    assert "20" not in text.splitlines()[2].split()
    assert "first" not in text


def test_an_empty_frame_or_series_is_its_size() -> None:
    assert as_text(pd.DataFrame()) == "DataFrame, 0 rows x 0 columns"
    assert as_text(pd.DataFrame({"a": [1]})[:0]) == "DataFrame, 0 rows x 1 columns\ncolumns: a (int64)"
    assert as_text(pd.Series(dtype="float64")) == "Series, 0 rows, dtype float64"


def test_a_series_is_its_name_size_and_first_rows() -> None:
    lines = as_text(pd.Series(range(12), name="n")).splitlines()
    assert lines[:2] == ["Series 'n', 12 rows, dtype int64", "first 10 rows:"]
    assert [line.split() for line in lines[2:]] == [[str(n), str(n)] for n in range(10)]


def test_an_array_is_its_shape_type_and_edges() -> None:
    title, *rows = as_text(np.arange(10_000).reshape(100, 100)).splitlines()
    assert title == "ndarray, shape (100, 100), dtype int64"
    assert rows[0].split() == ["[[", "0", "1", "2", "...", "97", "98", "99]"]
    assert len(rows) == 7
    assert as_text(np.array([1, 2])) == "ndarray, shape (2,), dtype int64\n[1 2]"


def test_an_array_of_very_many_axes_is_only_its_shape() -> None:
    assert as_text(np.zeros((3,) * 9)) == f"ndarray, shape {(3,) * 9}, dtype float64"


def test_a_tensor_is_its_shape_type_device_and_repr() -> None:
    members = {"__module__": "torch", "shape": (2,), "dtype": "torch.int64", "device": "cpu"}
    tensor = type("Tensor", (), {**members, "__repr__": lambda self: "tensor([1, 2])"})
    parameter = type("Parameter", (tensor,), {"__module__": "torch.nn.parameter"})
    assert as_text(parameter()) == "Tensor, shape (2,), dtype torch.int64, device cpu\ntensor([1, 2])"


def test_a_polars_frame_is_its_repr() -> None:
    frame = type(
        "DataFrame", (), {"__module__": "polars.dataframe.frame", "__repr__": lambda self: "shape: (1, 1)"}
    )
    assert as_text(frame()) == "shape: (1, 1)"


def test_a_picture_is_its_size_and_mode() -> None:
    image: Any = pytest.importorskip("PIL.Image")
    assert as_text(image.new("L", (640, 480))) == "Image, 640 x 480 pixels, mode L"


def test_a_figure_is_its_labels_and_what_its_lines_show(plt: Any) -> None:
    figure, (left, right) = plt.subplots(1, 2)
    left.plot([1, 2, 3], [4.0, float("nan"), 6.0], label="speed")
    left.scatter([0, 5], [1, 2], label="seen")
    left.set(title="Run", xlabel="time / s", ylabel="v")
    left.legend()
    right.bar(["ash", "oak"], [3, 5], label="trees")
    assert as_text(figure).splitlines() == [
        "Figure, 6.4 x 4.8 inches, 2 axes",
        "Axes; title 'Run'; x 'time / s'; y 'v'; legend 'speed, seen'",
        "  line 'speed': 3 points, x 1 to 3, y 4 to 6",
        "  scatter 'seen': 2 points, x 0 to 5, y 1 to 2",
        "Axes; x ticks 'ash, oak'",
        "  2 bars 'trees': values 3 to 5",
    ]
    assert as_text(right) == "Axes; x ticks 'ash, oak'\n  2 bars 'trees': values 3 to 5"


def test_fills_wedges_images_and_dates_are_summarised(plt: Any) -> None:
    figure, (fill, pie, picture, dates) = plt.subplots(1, 4)
    fill.fill_between([1, 2], [3, 4])
    fill.plot([], [])
    pie.pie([1, 3], labels=["tea", "rye"])
    picture.imshow(np.eye(4))
    dates.plot(pd.date_range("2020-01-01", periods=3), [1, 2, 3])
    text = as_text(figure)
    assert "1 paths, x 1 to 2, y 0 to 4" in text
    assert "line: 0 points, x without data, y without data" in text
    assert "texts 'tea; rye'\n  Wedge 'tea': x 0 to 1, y 0 to 1" in text
    assert "image, shape (4, 4): 0 to 1" in text
    assert "x 2020-01-01T" in text


def test_axes_of_very_many_lines_count_the_rest(plt: Any) -> None:
    axes = plt.subplots()[1]
    for _ in range(25):
        axes.plot([1], [1])
    lines = as_text(axes).splitlines()
    assert len(lines) == 22
    assert lines[-1] == "  ... and 5 more"


def caught(source: str, **names: object) -> Exception:
    try:
        exec(compile(source, "<cell>", "exec"), dict(names))
    except Exception as error:  # noqa: BLE001 - any error a test's source raises is what is wanted
        return error
    raise AssertionError(source)


def test_no_error_is_no_text() -> None:
    assert describe_error(None) == ""


def test_an_error_is_its_traceback_with_causes_and_without_colours() -> None:
    error = caught("try: 1/0\nexcept Exception as e: raise ValueError('\\x1b[31mred\\x1b[0m') from e")
    lines = describe_error(error).splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "ZeroDivisionError: division by zero" in lines
    assert lines[-1] == "ValueError: red"


def test_ipythons_own_frames_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    inner: dict[str, Any] = {}
    source = "def run(f):\n    f()"
    exec(compile(source, os.path.join(os.sep, "lib", "IPython", "core.py"), "exec"), inner)
    fake = types.ModuleType("IPython")
    fake.__file__ = os.path.join(os.sep, "lib", "IPython", "__init__.py")
    monkeypatch.setitem(sys.modules, "IPython", fake)
    error = caught(
        "def mine(): 1/0\ntry: run(mine)\nexcept Exception as e: raise OSError from e", run=inner["run"]
    )
    text = describe_error(error)
    assert "in mine" in text
    assert "core.py" in "".join(traceback.format_exception(error))
    assert "core.py" not in text
    assert "OSError" in text


def test_a_long_traceback_keeps_its_last_whole_lines() -> None:
    message = "\n".join(f"line {number}" for number in range(2_000))
    text = describe_error(ValueError(message))
    first, second, *_, last = text.splitlines()
    assert 5_900 < len(text) <= 6_000
    assert (first, last) == ("...", "line 1999")
    assert second in message.splitlines()


def test_one_endless_line_keeps_its_end() -> None:
    text = describe_error(ValueError("x" * 10_000 + "!"))
    assert len(text) == 6_000
    assert text.endswith("x!")


def test_importing_loads_none_of_the_libraries_it_knows() -> None:
    heavy = ["IPython", "numpy", "pandas", "matplotlib", "PIL", "torch", "polars"]
    code = (
        f"import sys, farm_notebook.notebook.interpolation; print([n for n in {heavy} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
