"""What is filled in a prompt, and what survives byte for byte."""

from __future__ import annotations

import asyncio
import math
import time
import types
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook.notebook.interpolation import interpolate

NAMESPACE: dict[str, object] = {
    "name": "Ada",
    "x": "X",
    "a": "A",
    "b": "B",
    "i": 7,
    "d": {"k": "v", "two words": "w", -1: "last", "_p": "p"},
    "rows": [10, 20, 30],
    "point": types.SimpleNamespace(x=1, inner=types.SimpleNamespace(label="deep"), _secret="s"),
    "math": math,
    "length": len,
}


def fill(text: str) -> str:
    return interpolate(text, NAMESPACE).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello {name}!", "Hello Ada!"),
        ("data_{name}.csv", "data_Ada.csv"),
        ('{"a": {x}}', '{"a": X}'),
        ("{x}{x}", "XX"),
        ("{point.x} {point.inner.label}", "1 deep"),
        ("{rows[0]} {rows[-1]}", "10 30"),
        ("{d['k']} {d[\"k\"]} {d['two words']} {d[-1]} {d['_p']}", "v v w last p"),
        ("{math.pi:.2f} {math.inf}", "{math.pi:.2f} inf"),
        ("costs $5 for {name} and $6", "costs $5 for Ada and $6"),
        ("US$5 for {name}, US$6 each", "US$5 for Ada, US$6 each"),
        (r"C:\{name}, one\n{name}", r"C:\Ada, one\nAda"),
        ("if x: {x}", "if x: X"),
        ("we print the leaf'{x}' in \"{x}\"", "we print the leaf'X' in \"X\""),
        ("${a}-{name}-${b}", "${a}-Ada-${b}"),
        ("$a\n\n{name}$", "$a\n\nAda$"),
        ('f"{x}" and {x}', 'f"{x}" and X'),
    ],
)
def test_a_field_that_resolves_is_filled(text: str, expected: str) -> None:
    assert fill(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1, "b": [{"c": {}}]}',
        "{1, 2}, {'k': name}, {y: x for y in rows}, {*rows}",
        "{x:.2f} {x!r} {x=} {x,} {x+1} {len(x)} {rows[i]} {rows[0:1]} {d[b'k']}",
        "{ x } {x } { x} {} {x\n}",
        "{{name}} {{{name}}}",
        "{rows[007]} {None} {True} {class}",
    ],
)
def test_braces_that_are_no_field_survive_and_are_not_reported(text: str) -> None:
    result = interpolate(text, NAMESPACE)
    assert (result.text, result.filled, result.left) == (text, (), ())


@pytest.mark.parametrize(
    "text",
    [
        *(f"{prefix}{q}a {{x}} b{q}" for prefix in ("f", "F", "rf", "fR") for q in ('"', "'", '"""', "'''")),
        'f"""one "{x}"\n\n{x}"""',
        r'f"a \" {x}"',
        "`Hi ${name}`, ${f({x})}, $${name}",
        r"\sqrt{x} \frac{a}{b} \sqrt[3]{x} \text{a {x} b} \operatorname*{x}",
        r"\frac{\sqrt{\frac{a}{b}}}{x}",
        r'"\\frac{a}{b}"',
        "$$x_{i} + $ y_{i}$$",
        "$x_{i}$, $a + b_{i}$.",
        "${x}^2$",
        "$x\n+ y_{i}$",
        r"$\$ {x}$",
        r"\(x_{i}\) \[x_{i}\]",
        r"\[ {a} \\[2pt] {b} \]",
        r"\\(x_{i}\\) \\[x_{i}\\]",
    ],
)
def test_a_protected_span_is_left_alone(text: str) -> None:
    assert interpolate(text, NAMESPACE) == interpolate(text, {})
    assert fill(f"{text} {{name}}") == f"{text} Ada"


@pytest.mark.parametrize(
    "source",
    [
        "missing",
        "rows[9]",
        "d['none']",
        "x[0].nothing",
        "i[0]",
        "point._secret",
        "x.__class__",
        "x.__class__.__mro__",
        "math",
        "print",
        "length",
        "x.upper",
        "__builtins__",
        "d['\\d']",
    ],
)
def test_a_field_that_does_not_resolve_is_left_and_reported(source: str) -> None:
    text = f"a {{{source}}} b"
    result = interpolate(text, {**NAMESPACE, "__builtins__": {"print": print}})
    assert (result.text, result.filled, result.left) == (text, (), (source,))


def test_fields_are_reported_in_order_without_repeats() -> None:
    result = interpolate("{x} {no} {name} {x} {nor} {no}", NAMESPACE)
    assert (result.filled, result.left) == (("x", "name"), ("no", "nor"))


def test_ipythons_own_names_resolve() -> None:
    assert interpolate("{_} {__} {_1} {Out[1]}", {"_": 1, "__": 2, "_1": 3, "Out": {1: 4}}).text == "1 2 3 4"


def test_any_mapping_will_do_and_each_field_is_read_once() -> None:
    asked: list[str] = []

    class Lazy(Mapping[str, object]):
        def __getitem__(self, key: str) -> object:
            asked.append(key)
            return {"Err": "ZeroDivisionError"}[key]

        def __iter__(self) -> Iterator[str]:
            return iter(())

        def __len__(self) -> int:
            return 0

    assert interpolate("{Err} {Err} {In}", Lazy()).text == "ZeroDivisionError ZeroDivisionError {In}"
    assert asked == ["Err", "In"]


class Failing:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    @property
    def value(self) -> object:
        raise self.error


def test_a_property_that_raises_leaves_its_field() -> None:
    assert interpolate("{o.value}", {"o": Failing(ZeroDivisionError())}).left == ("o.value",)


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_an_interrupt_is_never_swallowed(kind: type[BaseException]) -> None:
    with pytest.raises(kind):
        interpolate("{o.value}", {"o": Failing(kind())})


def test_an_endless_chain_is_no_field() -> None:
    text = "{x" + ".a" * 50_000 + "}"
    assert interpolate(text, NAMESPACE).text == text


@given(st.text(st.characters(exclude_characters="{")))
def test_text_without_a_brace_is_unchanged(text: str) -> None:
    assert fill(text) == text


FRAGMENTS = st.lists(st.sampled_from([*"{}$\\()[]\"'fax.0 \n", "{x}", "{{", "}}", "$$", 'f"""', r"\frac"]))
PROMPTS = st.one_of(st.text(), FRAGMENTS.map("".join))


@given(PROMPTS)
def test_any_text_is_unchanged_where_there_are_no_names(text: str) -> None:
    result = interpolate(text, {})
    assert (result.text, result.filled) == (text, ())


@given(PROMPTS)
def test_what_a_variable_held_is_not_scanned_again(value: str) -> None:
    assert interpolate("<{v}|{v}>", {"v": value, "x": "no", "a": "no"}).text == f"<{value}|{value}>"


@pytest.mark.parametrize(
    "unit",
    [
        *("{", '{a["', "{a['\\'", "{{", "{a}", "\\", "\\(", "\\(\\\\(", "\\\\[", "\\[\\\\["),
        *("$", "$a ", "$\\", "$$ ", "$\n", "${", "\\a{", "\\a{\\b{}", "\\a["),
        *("f'", 'f"""', 'f"\\"', "f'''\\'"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "$$x"])
def test_time_grows_with_the_text_and_not_with_its_square(unit: str, prefix: str) -> None:
    def cost_s(size: int) -> float:
        text = prefix + unit * (size // len(unit)) + "{"
        started = time.process_time()
        interpolate(text, {})
        return time.process_time() - started

    interpolate("{a}", {})  # compiles
    for size in (3_125, 25_000):  # the smaller first, so that a quadratic pattern fails soon
        small = max(min(cost_s(size) for _ in range(3)), 1e-4)
        large = min(cost_s(8 * size) for _ in range(2))
        assert large / small < 28  # 8 where it is linear, 64 where it is quadratic
