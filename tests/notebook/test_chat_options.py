"""The line of the magic: options first, then the prompt as it stands."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook.errors import InvalidRequestError
from farm_notebook.notebook.cells import CELL_MAGICS
from farm_notebook.notebook.cells.chat_options import ChatOptions, parse_cell_line, parse_line, parser
from farm_notebook.notebook.jupyter_ai import FOREIGN_OPTIONS
from farm_notebook.notebook.options import MAGICS_OF

DEFAULTS = ChatOptions(
    model=None,
    model_parameters={},
    temperature=None,
    max_tokens=None,
    system=None,
    seed=None,
    stop=(),
    no_cache=False,
    refresh=False,
    sample=None,
    out=None,
    thread="notebook",
    no_history=False,
    reset=False,
    dry_run=False,
    format="markdown",
    context=(),
    cell=(),
    notebook=False,
    file=(),
    context_tokens=None,
    image=(),
    schema=None,
    as_=None,
    tool=(),
    max_steps=8,
    confirm=False,
    no_stream=False,
    no_interpolate=False,
)


def unchanged(text: str) -> str:
    return text


def parse(line: str) -> tuple[ChatOptions, str]:
    return parse_line(line, unchanged)


def changed(line: str) -> dict[str, Any]:
    """The options that a line sets to something else than their default."""
    options, _ = parse(line)
    fields = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    return {name: value for name, value in fields.items() if value != getattr(DEFAULTS, name)}


def message(line: str) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        parse(line)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_empty_line_has_every_default_and_no_prompt() -> None:
    assert parse("") == (DEFAULTS, "")
    assert parse("   ") == (DEFAULTS, "")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("-m ollama:llama3.1:8b", {"model": "ollama:llama3.1:8b"}),
        ("--model ./x.gguf", {"model": "./x.gguf"}),
        ("-t 0.7", {"temperature": 0.7}),
        ("-t0.7", {"temperature": 0.7}),
        ("-t=0.7", {"temperature": 0.7}),
        ("--temperature 0", {"temperature": 0.0}),
        ("--temperature=1e-1", {"temperature": 0.1}),
        ("--max-tokens 12", {"max_tokens": 12}),
        ("-s short", {"system": "short"}),
        ("--system 'two words'", {"system": "two words"}),
        ("--seed 7", {"seed": 7}),
        ("--stop END", {"stop": ("END",)}),
        ("--stop END --stop 'the end'", {"stop": ("END", "the end")}),
        ("--no-cache", {"no_cache": True}),
        ("--refresh", {"refresh": True}),
        ("--sample 2", {"sample": 2}),
        ("-o reply", {"out": "reply"}),
        ("--out réponse_1", {"out": "réponse_1"}),
        ("--thread side", {"thread": "side"}),
        ("--no-history", {"no_history": True}),
        ("--reset", {"reset": True}),
        ("--dry-run", {"dry_run": True}),
        ("--no-stream", {"no_stream": True}),
        ("--no-interpolate", {"no_interpolate": True}),
        *((f"-f {name}", {"format": name}) for name in ("text", "code", "json", "html", "math")),
        ("--format=json", {"format": "json"}),
        ("-t 1 --seed 2 --out r --reset", {"temperature": 1.0, "seed": 2, "out": "r", "reset": True}),
    ],
)
def test_every_option_is_read_and_nothing_else_is_changed(line: str, expected: dict[str, Any]) -> None:
    assert changed(line) == expected
    assert changed(f"{line} Why?") == expected
    assert parse(f"{line} Why?")[1] == "Why?"


@pytest.mark.parametrize(("line", "use"), [("", "use"), ("--no-cache", "off"), ("--refresh", "refresh")])
def test_the_line_says_how_a_kept_answer_is_used(line: str, use: str) -> None:
    assert parse(line)[0].cache == use


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("""-m '{"temperature": 0.2}'""", {"temperature": 0.2}),
        ("""-m {"temperature": 0.2}""", {"temperature": 0.2}),
        ("""-m={"temperature":0.2}""", {"temperature": 0.2}),
        ("""--model-parameters '{"max_tokens": 9, "seed": 1}'""", {"max_tokens": 9, "seed": 1}),
        ("""-m ollama:x -m {"stop": "END"}""", {"model": "ollama:x", "stop": ("END",)}),
        ("""-m {"stop": ["a", "b"], "system": "s"} -m ollama:x""",
         {"model": "ollama:x", "stop": ("a", "b"), "system": "s"}),
        ("""-m {"logprobs": 3, "top_p": 0.9, "num_ctx": 8}""",
         {"model_parameters": {"logprobs": 3, "top_p": 0.9, "extra": {"num_ctx": 8}}}),
        ("""-m {"model_kwargs": {"k": 1}} -m {"j": {"a b": "it's"}}""",
         {"model_parameters": {"extra": {"k": 1, "j": {"a b": "it's"}}}}),
        ("-m {}", {}),
        ("""-t 1 -m {"temperature": 0}""", {"temperature": 0}),
        ("""-m {"temperature": 0} -t 1""", {"temperature": 1.0}),
    ],
)  # fmt: skip
def test_an_object_behind_m_is_parameters(line: str, expected: dict[str, Any]) -> None:
    assert changed(line) == expected
    assert parse(f"{line} Why {{x}}?")[1] == "Why {x}?"


TRAILING_COMMA = '{"temperature": 0.2,}'


def words_of_json(text: str) -> str:
    """What this Python's json says is wrong: its words are others in 3.13."""
    with pytest.raises(json.JSONDecodeError) as caught:
        json.loads(text)
    return caught.value.msg


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("""-m '{"temperature": }'""", "is not valid JSON: Expecting value"),
        ("--model-parameters [1]", "is no JSON object"),
        ("--model-parameters x", "is not valid JSON"),
        ("-m {'temperature': 0.2}", "is not valid JSON: Expecting property name enclosed in double quotes"),
        (f"-m {TRAILING_COMMA}", f"is not valid JSON: {words_of_json(TRAILING_COMMA)}"),
    ],
)
def test_parameters_that_are_no_object_are_quoted(line: str, words: str) -> None:
    assert words in message(line)
    assert line.split(maxsplit=1)[1].strip("'") in message(line)


def test_what_stands_behind_m_without_being_an_object_is_a_name_as_before() -> None:
    assert changed("-m {model} Hi {x}") == {"model": "{model}"}
    assert changed("-m openai-chat:gpt-4o") == {"model": "openai:gpt-4o"}
    assert changed("-m openai-chat") == {"model": "openai-chat"}


def parse_cell(line: str) -> ChatOptions:
    return parse_cell_line(line, unchanged, is_model=lambda word: ":" in word or word == "fast")


@pytest.mark.parametrize(
    "line",
    [
        *("-m ollama:x -f code", "ollama:x -f code", "-f code ollama:x", "'ollama:x' --format=code"),
        *("ollama:x -m ollama:x -f CODE",),
    ],
)
def test_a_model_may_stand_by_itself_before_the_lines_below(line: str) -> None:
    assert parse_cell(line) == dataclasses.replace(DEFAULTS, model="ollama:x", format="code")


def test_a_model_that_stands_by_itself_takes_parameters_too() -> None:
    options = parse_cell("""openai-chat:gpt-4o -m {"temperature": 0.2} -f md""")
    assert (options.model, options.temperature, options.format) == ("openai:gpt-4o", 0.2, "markdown")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Hello", "'Hello' stands behind %%farm_chat; the prompt goes on the lines below"),
        ("fast Tell me", "'Tell me' stands behind %%farm_chat"),
        ("fast -m ollama:x", "Two models are named, 'fast' and 'ollama:x'"),
        ("What's up", '"What\'s up" stands behind'),
    ],
)
def test_other_words_before_the_lines_below_are_quoted(line: str, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(words)):
        parse_cell(line)


@pytest.mark.parametrize("option", FOREIGN_OPTIONS)
def test_another_tools_option_is_answered_by_what_there_is(option: str) -> None:
    text = message(f"{option} x")
    assert text.startswith(f"{option!r} is not an option. {FOREIGN_OPTIONS[option]}")
    assert option not in parser().options()


def test_defaults_hold_where_the_line_says_nothing() -> None:
    defaults = {"temperature": 0.5, "format": "text", "nobody's": 1}
    assert parse_line("", unchanged, defaults)[0] == dataclasses.replace(
        DEFAULTS, temperature=0.5, format="text"
    )
    assert parse_line("-t 0 -f md", unchanged, defaults)[0].temperature == 0.0
    assert parse_line("-t 0 -f md", unchanged, defaults)[0].format == "markdown"
    assert parse_line("""-m {"temperature": 1}""", unchanged, defaults)[0].temperature == 1


def test_an_answer_cannot_be_kept_and_not_kept() -> None:
    assert "--refresh: not allowed with argument --no-cache" in message("--no-cache --refresh x")


def test_the_later_of_two_equal_options_wins() -> None:
    assert changed("-t 1 --temperature 0.5") == {"temperature": 0.5}


@pytest.mark.parametrize(
    ("line", "system"),
    [
        ("""-s "it's" """, "it's"),
        ("""-s 'say "hi"' """, 'say "hi"'),
        (r"""-s "say \"hi\"" """, 'say "hi"'),
        ("""-s a' b 'c""", "a b c"),
        ("""--system="two words" """, "two words"),
        ("""-s "" """, ""),
        ("""--system "" """, ""),
        ("""-s "=x" """, "=x"),
        ("""-s "a=b c=d" """, "a=b c=d"),
        ("""-s "-t 3" """, "-t 3"),
        ("""-s -dash""", "-dash"),
        ("""--system --reset""", "--reset"),
        ("""--system=-dash""", "-dash"),
        (r"-s C:\models\x.gguf", r"C:\models\x.gguf"),
        (r"""-s "a\\b\n" """, r"a\b\n"),
        ("-s \\", "\\"),
    ],
)
def test_a_value_is_unquoted_and_may_begin_with_a_dash(line: str, system: str) -> None:
    options, prompt = parse(f"{line} --seed 1 Go")
    assert (options.system, options.seed, prompt) == (system, 1, "Go")
    assert dataclasses.replace(options, system=None, seed=None) == DEFAULTS


@pytest.mark.parametrize(
    "prompt",
    [
        "What's up?",
        "'quoted' and \"double\"",
        'She said "hello',
        "Isn't it John's -t 3 --seed 4?",
        "a -- b",
        "x  =  1   # spaces stay",
        r"C:\path\n and \"escapes\"",
        "{braces} {{twice}}",
        "wow \N{EN DASH} a long dash",
        "\N{EN DASH} a dash that is no hyphen",
        "$HOME `ls` !x",
    ],
)
@pytest.mark.parametrize("options", ["", "-t 0 ", "--no-history --stop 'it is' ", "-- ", "-t 0 -- "])
def test_a_prompt_survives_as_it_stands(options: str, prompt: str) -> None:
    assert parse(options + prompt)[1] == prompt


@pytest.mark.parametrize("prompt", ["-5 degrees: cold?", "--reset", "-m x", "-", "-- again", "--it's so"])
def test_a_double_dash_ends_the_options(prompt: str) -> None:
    assert parse(f"-t 0 -- {prompt}") == (dataclasses.replace(DEFAULTS, temperature=0.0), prompt)


def test_options_after_the_prompt_belong_to_the_prompt() -> None:
    assert parse("Hello -t 1") == (DEFAULTS, "Hello -t 1")


@pytest.mark.parametrize(
    ("line", "close"),
    [
        ("--modle x", "--model"),
        ("--temprature=1", "--temperature"),
        ("--no-histroy Hi", "--no-history"),
        ("--dryrun Hi", "--dry-run"),
        ("--sytem 'x'", "--system"),
    ],
)
def test_an_unknown_option_is_quoted_with_the_closest_one(line: str, close: str) -> None:
    text = message(line)
    assert repr(line.split()[0]) in text
    assert f"Did you mean {close}?" in text


def test_an_unknown_option_that_is_close_to_none_lists_them_all() -> None:
    text = message("--xyzzy Hi")
    for name in ("--model", "--temperature", "--out", "--dry-run", "--no-interpolate", "-f"):
        assert name in text
    assert "Put -- before a prompt that begins with a dash" in text


@pytest.mark.parametrize("line", ["--temp 1", "--no-hist", "--max 3", "-test me", "-model x", "-out x"])
def test_options_are_not_abbreviated_and_not_taken_apart(line: str) -> None:
    assert f"{line.split()[0]!r} is not an option" in message(line)


@pytest.mark.parametrize("option", ["-m", "--model", "-t", "--max-tokens", "--stop", "--out", "-f", "-s"])
def test_a_missing_value_names_its_option(option: str) -> None:
    assert f"{option} needs a value" in message(option)
    assert f"{option} needs a value" in message(f"--seed 3 {option}  ")


@pytest.mark.parametrize(
    "line",
    [
        "-s 'never closed",
        '-s "never closed',
        "--system 'it''s",
        "--system='never closed",
        '--out="x',
    ],
)
def test_a_value_whose_quotes_are_not_closed_is_one_clear_error(line: str) -> None:
    assert "quotes closed" in message(line)


@pytest.mark.parametrize(
    ("line", "option", "value"),
    [
        ("-t warm", "-t/--temperature", "'warm'"),
        ("--temperature=", "-t/--temperature", "''"),
        ("--max-tokens 1.5", "--max-tokens", "'1.5'"),
        ("--seed x", "--seed", "'x'"),
        ("-f yaml", "-f/--format", "'yaml'"),
    ],
)
def test_a_bad_value_is_quoted_with_its_option(line: str, option: str, value: str) -> None:
    text = message(line)
    assert option in text
    assert value in text
    assert "`%farm_chat?` lists the options" in text


def test_a_word_that_is_none_of_a_few_is_told_the_closest() -> None:
    assert message("-f jsno").startswith("-f/--format: 'jsno' is not one of them. Did you mean json?")
    assert message("--schema x --as dff").startswith("--as: 'dff' is not one of them. Did you mean df?")
    assert message("-t warm").startswith("-t/--temperature: 'warm' is no number.")
    assert message("--seed 1.5").startswith("--seed: '1.5' is no whole number.")


def test_a_bad_format_lists_the_good_ones() -> None:
    text = message("-f yaml")
    assert all(name in text for name in ("markdown", "text", "code", "json", "html", "math"))


def test_a_flag_takes_no_value() -> None:
    assert "--reset" in message("--reset=yes")


@pytest.mark.parametrize("name", ["2x", "a-b", "a.b", "class", "None", "", "a b"])
def test_out_must_be_a_name_a_variable_can_have(name: str) -> None:
    assert repr(name) in message(f"--out {shlex.quote(name)} Hi")


@pytest.mark.parametrize("line", ["-t -1", "--temperature -1", "--temperature=-1", "-t=-1", "-t-1"])
def test_a_negative_number_is_a_value(line: str) -> None:
    assert changed(line) == {"temperature": -1.0}
    assert changed("--seed -3") == {"seed": -3}


def test_fields_are_filled_in_values_and_never_in_the_prompt() -> None:
    asked: list[str] = []

    def fill(text: str) -> str:
        asked.append(text)
        return text.replace("{style}", "two words -t 5").replace("{n}", "3")

    options, prompt = parse_line("-s 'In {style}.' --seed {n} --stop={style} Tell {style}", fill)
    assert options.system == "In two words -t 5."
    assert (options.seed, options.stop, options.temperature) == (3, ("two words -t 5",), None)
    assert prompt == "Tell {style}"
    assert not any("Tell" in text for text in asked)


@pytest.mark.parametrize("line", ["--no-interpolate -s {x}", "-s {x} --no-interpolate"])
def test_fields_are_left_alone_where_interpolation_is_off(line: str) -> None:
    def fill(text: str) -> str:
        raise AssertionError(f"asked to fill {text!r}")

    assert parse_line(line, fill)[0].system == "{x}"


def test_a_value_that_reads_like_the_flag_does_not_switch_interpolation_off() -> None:
    options, _ = parse_line("-s --no-interpolate --stop {x}", lambda text: text.replace("{x}", "filled"))
    assert (options.stop, options.no_interpolate) == (("filled",), False)


def test_one_line_leaves_nothing_for_the_next() -> None:
    parse("-m x -t 1 --max-tokens 2 -s y --seed 3 --stop z --out r --thread t -f json --no-stream --reset")
    parse("--stop a --stop b --dry-run --no-history --no-interpolate")
    assert parse("Hi") == (DEFAULTS, "Hi")


def test_the_option_of_another_magic_is_told_whose_it_is() -> None:
    assert "'--replace' is not an option. It belongs to %%farm_code." in message("--replace Hi")
    parsers = {f"%%{name}": magic.parser() for name, magic in CELL_MAGICS.items()}
    every = {name for each in parsers.values() for name in each.options()}
    for name in every:
        owners = [magic for magic, each in parsers.items() if name in each.options()]
        is_everywhere = len(owners) == len(parsers)
        assert " and ".join(owners) == MAGICS_OF.get(name, "") or is_everywhere, name


def test_the_help_documents_every_option_and_format() -> None:
    text = parser().format_help()
    assert text.startswith("usage: %%farm_chat [options]")
    assert not set(FOREIGN_OPTIONS) & set(text.split())
    for field in dataclasses.fields(ChatOptions):
        assert f"--{field.name.rstrip('_').replace('_', '-')}" in text
    assert "{markdown,text,code,json,html,math}" in text


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=40).filter(lambda text: text != "--"))
def test_any_shell_quoted_text_is_a_value(text: str) -> None:
    options, prompt = parse(f"--system {shlex.quote(text)} Go")
    assert (options.system, prompt) == (text, "Go")


@given(st.text("""-tms'"\\= x1""", max_size=30))
def test_any_line_is_parsed_or_refused_in_one_line(line: str) -> None:
    try:
        _, prompt = parse(line)
    except InvalidRequestError:
        message(line)
    else:
        assert line.rstrip().endswith(prompt)


def test_what_of_the_notebook_is_told_may_be_said_more_than_once() -> None:
    line = "-c df --context=rows[0] --cell -1 --cell 3-5 --file a.md --image fig --image 'b c.png' "
    line += "--notebook Why?"
    assert changed(line) == {
        "context": ("df", "rows[0]"),
        "cell": ("-1", "3-5"),
        "file": ("a.md",),
        "image": ("fig", "b c.png"),
        "notebook": True,
    }
    assert parse(line)[1] == "Why?"


def test_a_name_in_braces_stands_for_the_variable_where_one_is_asked_for() -> None:
    line = "-c {df} --image {fig} --image {folder}/a.png -s {fig} Hi"
    options, _ = parse_line(line, lambda text: re.sub(r"\{\w+\}", "filled", text))
    assert options.context == ("{df}",)
    assert options.image == ("{fig}", "filled/a.png")
    assert options.system == "filled"
    assert options.wanted.names == ("df",)
