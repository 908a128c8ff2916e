"""``%%farm_code``, ``%farm fix``, ``%farm explain``, and what of the notebook a question goes with."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import PIL.Image
import pytest
from pytest_httpserver import HTTPServer
from shells import Shell, loaded_shell, plain_shell
from telling import TellingProvider

from farm_notebook import register_provider
from farm_notebook.errors import InvalidRequestError, UnsupportedParameterError
from farm_notebook.types import ChatRequest, Event

pytestmark = pytest.mark.slow  # a shell each

plain = pytest.fixture(name="plain")(plain_shell)
loaded = pytest.fixture(name="loaded")(loaded_shell)

FRAME = "import pandas as pd\ndf = pd.DataFrame({'price': [1.5, 2.5], 'city': ['Rome', 'Oslo']})"


@pytest.fixture
def inputs(loaded: Shell) -> list[tuple[str, bool]]:
    """What is put before the user, and whether in the place of the present cell."""
    made: list[tuple[str, bool]] = []
    loaded.ip.set_next_input = lambda text, replace=False: made.append((text, replace))
    return made


@pytest.fixture
def shell(
    loaded: Shell, inputs: list[tuple[str, bool]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Shell:
    """A shell in an empty folder, whose model says what the test has it say."""
    monkeypatch.chdir(tmp_path)
    register_provider(TellingProvider)
    TellingProvider.asked.clear()
    TellingProvider.words = "```python\nx = 1\n```"
    loaded.run("%farm model telling:it")
    return loaded


def asked() -> ChatRequest:
    """The last request."""
    return TellingProvider.asked[-1]


def prompt() -> str:
    return asked().messages[-1].content


# --- the context of a question


def test_variables_cells_files_are_put_before_the_question_and_told_below_the_answer(
    shell: Shell, tmp_path: Path
) -> None:
    shell.run(FRAME)
    result, _ = shell.run("df.price.sum()")
    (tmp_path / "notes.md").write_text("Prices are in euros.")
    _, out = shell.run(
        f"%%farm_chat -c df --cell {result.execution_count} --file *.md\nWhat is {{it}} in all?"
    )
    text = prompt()
    assert text.endswith("</context>\n\nWhat is {it} in all?")
    assert "columns: price (float64), city (" in text
    assert f'<cell name="In[{result.execution_count}]">\ndf.price.sum()\n<output>\n4.0\n</output>' in text
    assert "Prices are in euros." in text
    assert re.search(rf"context: In\[{result.execution_count}\], notes\.md, df · \d+ of 1,500 tokens", out), (
        "half of the model's window"
    )


def test_nothing_of_a_context_is_filled_or_remembered(shell: Shell) -> None:
    shell.run("secret = 'unfilled'\nnote = 'look: {secret} {df}'")
    shell.run("%farm_chat -c note Why?")
    assert "look: {secret} {df}" in prompt()
    assert [message.content for message in shell.thread()][:1] == ["Why?"]


def test_the_notebook_so_far_is_told_but_neither_the_present_cell_nor_the_conversation(shell: Shell) -> None:
    shell.run("x = 1")
    shell.run("%farm_chat before")
    shell.run("told = %farm_chat before")
    shell.run("%farm seed off\ny = 3")
    shell.run("def twice(n):\n    return 2 * n")
    shell.run("%farm_chat --notebook now")
    assert "x = 1" in prompt()
    assert "y = 3" in prompt()
    assert "def twice(n):" in prompt()
    assert prompt().count("now") == 1
    assert "before" not in prompt()


def test_the_budget_is_said_and_kept_and_what_is_left_out_named(shell: Shell) -> None:
    for number in range(5):
        shell.run(f"text{number} = '{'word ' * 60}'")
    _, out = shell.run("%farm_chat --notebook --context-tokens 300 What?")
    found = re.search(r"context: (.*) · (\d+) of 300 tokens; left out: (.*)", out)
    assert found is not None
    assert int(found[2]) <= 300
    assert "word" in prompt()


def test_a_dry_run_shows_the_context_and_the_pictures(shell: Shell) -> None:
    shell.run(FRAME)
    shell.ip.user_ns["picture"] = PIL.Image.new("RGB", (2, 2))
    out = shell.sent("-c df --image {picture}", "Why?")
    assert TellingProvider.asked == []
    assert "context: df · " in out
    assert "--- user\nImage('image/png', " in out
    assert "DataFrame, 2 rows x 2 columns" in out
    assert out.rstrip().endswith("</context>\n\nWhy?")


def test_known_secrets_and_what_looks_like_one_stay_here(
    shell: Shell, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "correct-horse-battery")
    (tmp_path / "a.env").write_text("OPENAI_API_KEY=correct-horse-battery\n")
    shell.run("client = dict(api_key='Zq8fLm2Xw9Rt4Vb7Nc1KdPa')")
    shell.run("%farm_chat --notebook --file a.env What?")
    assert "OPENAI_API_KEY=***" in prompt()
    assert "dict(api_key='***')" in prompt()
    assert "correct-horse" not in prompt()
    assert "Zq8fLm2" not in prompt()


def test_pictures_go_with_the_question_and_stay_with_the_conversation(
    shell: Shell, httpserver: HTTPServer, tmp_path: Path
) -> None:
    PIL.Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    httpserver.expect_request("/b.png").respond_with_data((tmp_path / "a.png").read_bytes())
    shell.run(
        "import matplotlib; matplotlib.use('Agg')\nfrom matplotlib.figure import Figure\nfig = Figure()"
    )
    shell.run(f"%farm_chat --image fig --image a.png --image {httpserver.url_for('/b.png')} What is this?")
    assert [image.media_type for image in asked().messages[-1].images] == ["image/png"] * 3
    assert len(shell.thread()[0].images) == 3


class BlindProvider(TellingProvider):
    name = "blind"

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        if any(message.images for message in request.messages):
            raise UnsupportedParameterError("blind:it cannot honour images.", provider=self.name)
        async with aclosing(super().stream(request)) as events:
            async for event in events:
                yield event


def test_a_picture_of_the_conversation_that_a_model_cannot_see_is_told_as_one(shell: Shell) -> None:
    register_provider(BlindProvider)
    shell.ip.user_ns["picture"] = PIL.Image.new("RGB", (2, 2))
    error, _ = shell.error("%farm_chat -m blind:it --image picture What is this?")
    assert "conversation" not in str(error), "it is the cell's own"
    shell.run("%farm_chat --image picture What is this?")
    error, out = shell.error("%farm_chat -m blind:it And now?")
    assert str(error).endswith("--no-history asks without it, and --reset forgets it.")
    assert len(out.strip().splitlines()) == 1
    assert shell.reply("%farm_chat -m blind:it --no-history And now?").text


ERRORS: list[tuple[str, type[Exception], str]] = [
    ("%farm_chat -c dff Hi", InvalidRequestError, "Did you mean df?"),
    ("%farm_chat -c oopen Hi", InvalidRequestError, "'oopen' is no variable of this notebook. Valid: "),
    ("%farm_chat --cell 99 Hi", InvalidRequestError, "'99' names no cell that was run"),
    ("%farm_chat --file gone.md Hi", InvalidRequestError, "'gone.md' cannot be read"),
    ("%farm_chat --image gone.png Hi", InvalidRequestError, "neither a variable of this notebook nor a file"),
    ("%farm_chat -c df --context-tokens 0 Hi", InvalidRequestError, "--context-tokens 0 is out of range"),
    ("%%farm_chat -c df\n\n", InvalidRequestError, "The prompt is empty"),
    ("%%farm_code\n\n", InvalidRequestError, "The prompt is empty"),
    ("%%farm_code df\nHi", InvalidRequestError, "'df' stands behind %%farm_code"),
    ("%%farm_code -m scripted:echo telling:it\nHi", InvalidRequestError, "Two models are named"),
    ("%farm explain dff", InvalidRequestError, "Did you mean df?"),
    ("%farm explain In[99]", InvalidRequestError, "'In[99]' names no cell that was run"),
]


@pytest.mark.parametrize(("cell", "cls", "words"), ERRORS)
def test_what_is_wrong_is_one_line_that_says_what_is_right(
    shell: Shell, cell: str, cls: type[Exception], words: str
) -> None:
    shell.run(FRAME)
    error, out = shell.error(cell)
    assert isinstance(error, cls)
    assert words in str(error)
    assert len([line for line in out.splitlines() if line.strip()]) == 1


# --- %%farm_code


def test_the_code_is_put_into_the_next_cell_and_not_run(shell: Shell, inputs: list[tuple[str, bool]]) -> None:
    TellingProvider.words = "Sure:\n\n```python\nran = True\n```\n\n```python\nprint(ran)\n```"
    result, out = shell.run("%%farm_code\nset ran")
    assert inputs == [("ran = True\n\nprint(ran)", False)]
    assert "ran" not in shell.ip.user_ns
    assert out.startswith("ran = True\n\nprint(ran)\n\ntelling:it")
    assert result.result.text == TellingProvider.words


def test_it_is_told_of_the_variables_that_the_prompt_mentions_and_of_what_is_imported(shell: Shell) -> None:
    shell.run(FRAME)
    shell.run("def clean(frame):\n    return frame.dropna()\nother = 3")
    _, out = shell.run("%farm_code -c other plot clean(df) over a year")
    text = prompt()
    assert text.endswith("</context>\n\nWrite Python code: plot clean(df) over a year")
    assert "DataFrame, 2 rows x 2 columns" in text
    assert "def clean(frame):" in text
    assert '<variable name="other">\nint\n3\n' in text
    assert '<cell name="imports">\nimport pandas as pd  # ' in text
    assert "context: clean, df, imports, other · " in out
    assert asked().messages[0].role == "system"
    assert "Answer with Python code only" in asked().messages[0].content


def test_it_may_take_the_place_of_the_cell(shell: Shell, inputs: list[tuple[str, bool]]) -> None:
    shell.run("%farm_code --replace x")
    assert inputs == [("x = 1", True)]


def test_what_is_wrong_with_the_code_is_said_below_it(shell: Shell, inputs: list[tuple[str, bool]]) -> None:
    TellingProvider.words = "```python\nif x = 3: pass\n```"
    _, out = shell.run("%farm_code x")
    assert "not valid Python: invalid syntax" in out
    assert inputs == [("if x = 3: pass", False)]
    TellingProvider.words = "```sql\nSELECT 1\n```"
    assert "sql, not Python" in shell.run("%farm_code x")[1]


def test_a_shell_script_becomes_a_cell_of_bash(shell: Shell, inputs: list[tuple[str, bool]]) -> None:
    TellingProvider.words = "```bash\nls -l\n```"
    _, out = shell.run("%farm_code list the files")
    assert inputs == [("%%bash\nls -l", False)]
    assert out.startswith("%%bash\nls -l\n")


def test_the_conversation_goes_on_and_no_history_leaves_it_alone(shell: Shell) -> None:
    shell.run("%farm_code first")
    shell.run("%farm_code now faster")
    assert [message.content for message in asked().messages[1:]] == [
        "first",
        TellingProvider.words,
        "Write Python code: now faster",
    ]
    shell.run("%farm_code --no-history alone")
    assert len(asked().messages) == 2
    assert len(shell.thread()) == 4


def test_options_and_out_work_as_for_a_chat(shell: Shell) -> None:
    shell.run("%farm_code -t 0.5 --max-tokens 9 --seed 3 -s 'Use polars.' --out r x")
    assert asked().parameters() == {"temperature": 0.5, "max_tokens": 9, "seed": 3}
    assert asked().messages[0].content.startswith("Use polars.\n\nAnswer with Python")
    assert shell.ip.user_ns["r"].text == TellingProvider.words
    out = shell.run("%farm_code --dry-run {r} x")[1]
    assert "Would go to telling:it; nothing was sent." in out
    assert "filled: {r}" in out


def test_a_broken_answer_puts_nothing_before_the_user(shell: Shell, inputs: list[tuple[str, bool]]) -> None:
    _, out = shell.error("%farm_code -m scripted:fail-3 x")
    assert inputs == []
    assert "not valid Python" not in out


def test_a_model_may_stand_by_itself_behind_the_magic(shell: Shell) -> None:
    assert "Would go to scripted:echo" in shell.run("%%farm_code scripted:echo --dry-run -t 0\nHi")[1]


def test_what_stands_in_the_prompt_is_not_told_besides(shell: Shell) -> None:
    shell.run("limit = 7\nother = 8")
    shell.run("%farm_code show {limit} and other")
    assert "Write Python code: show 7 and other" in prompt()
    assert '<variable name="limit">' not in prompt()
    assert '<variable name="other">' in prompt()


# --- %farm fix


def test_without_an_error_fix_says_so(shell: Shell) -> None:
    _, out = shell.run("%farm fix")
    assert out == "There is no error to be fixed: no cell has raised one.\n"
    assert TellingProvider.asked == []


FIXED = "You divide by zero.\n\n```python\n1 / 0\n```\n\nBetter:\n\n```python\nhalf(2)\n```"


def test_fix_tells_the_error_its_cell_and_variables_and_proposes_the_corrected_cell(
    shell: Shell, inputs: list[tuple[str, bool]]
) -> None:
    TellingProvider.words = FIXED
    made, _ = shell.run("def half(n):\n    return n / zero")
    shell.run("zero = 0\nunused = 1")
    failed, _ = shell.run("half(2)")
    shell.run("fine = 1")
    result, out = shell.run("%farm fix but quickly")
    text, label = prompt(), f"In[{failed.execution_count}]"
    assert text.endswith(
        f"{label} raised ZeroDivisionError: division by zero\n\nExplain it, and correct the cell. but quickly"
    )
    assert f"Traceback (most recent call last):\n  {label}, line 1, in <module>" in text
    assert f"  In[{made.execution_count}], line 2, in half" in text
    assert f'<cell name="{label}">\nhalf(2)\n</cell>' in text
    assert f'<cell name="In[{made.execution_count}]">\ndef half(n):' in text
    assert '<variable name="zero">\nint\n0\n' in text
    assert "unused" not in text
    assert inputs == [("half(2)", False)]
    assert "You divide by zero." in out
    assert result.result.text == FIXED
    assert "raised ZeroDivisionError" in shell.thread()[-2].content
    assert "Traceback" not in shell.thread()[-2].content


def test_fix_tells_the_variables_of_the_function_that_failed_but_no_secret(shell: Shell) -> None:
    shell.run("def half(n, password='hunter22'):\n    rest = [n, n]\n    return n / 0")
    shell.run("half(2)")
    shell.run("%farm fix")
    assert '<variable name="n in half">\nint\n2\n' in prompt()
    assert '<variable name="rest in half">\nlist, 2 items\n[2, 2]' in prompt()
    assert '<variable name="password in half">\nstr, 8 long; by its name it is a secret' in prompt()
    assert "hunter22" not in prompt()


def test_the_variables_of_a_timed_cell_are_told(shell: Shell) -> None:
    shell.run("rows = [1, 2]")
    shell.run("%%time\nrows.sum()")
    shell.run("%farm fix")
    assert '<variable name="rows">\nlist, 2 items' in prompt()


@pytest.mark.parametrize(
    "cell",
    ["if x = 3:\n    pass", "x = (1,", "def f():\nreturn 1", "\tx = 1\n  y = 2", "print 'x'"],
    ids=["wrong", "not closed", "not indented", "tabs", "python 2"],
)
def test_a_syntax_error_is_fixed_in_the_cell_that_has_it(shell: Shell, cell: str) -> None:
    failed, _ = shell.run(cell)
    shell.run("%farm fix")
    assert f'<cell name="In[{failed.execution_count}]">\n{cell.strip(chr(10))}\n</cell>' in prompt()
    assert re.search(r"In\[\d+\] raised (Syntax|Indentation|Tab)Error: ", prompt())
    shell.error("%farm nonsense")
    shell.run("%farm fix")
    raised = re.search(r"In\[\d+\] raised .*", prompt())
    assert raised is not None
    assert ", line " not in raised[0], "the traceback says where it is"


def test_an_unknown_magic_can_be_fixed(shell: Shell) -> None:
    shell.run("%nonsense now")
    shell.run("%farm fix")
    assert "%nonsense now" in prompt()


def test_an_error_of_ours_is_no_error_to_be_fixed(shell: Shell) -> None:
    shell.run("1 / 0")
    shell.run("%farm_chat -m scripted:error-auth Hi")
    shell.run("%farm fix -m scripted:fail-0")
    shell.run("%farm fix")
    assert "raised ZeroDivisionError" in prompt()
    assert '<cell name="In[' in prompt()
    assert "%farm_chat" not in prompt()


def test_an_error_of_the_users_below_a_magic_of_ours_can_be_fixed(shell: Shell) -> None:
    shell.run("%farm seed 3\n1 / 0")
    shell.run("%farm fix")
    assert "raised ZeroDivisionError" in prompt()


def test_an_error_of_ours_in_the_users_own_code_can_be_fixed(shell: Shell) -> None:
    shell.run("import farm_notebook\nfarm_notebook.chat('Hi', model='scripted:nothing')")
    shell.run("told = %farm_chat -m scripted:error-auth Hi")
    shell.run("%farm fix")
    assert "raised ModelNotFoundError" in prompt()
    assert "farm_notebook.chat('Hi'" in prompt()


def test_the_last_error_is_fixed_and_not_one_before(shell: Shell) -> None:
    shell.run("1 / 0")
    shell.run("int('x')")
    shell.run("%farm fix")
    assert "raised ValueError: invalid literal" in prompt()
    assert "1 / 0" not in prompt()


def test_an_error_that_was_caught_by_a_tool_without_history_is_found_as_well(shell: Shell) -> None:
    shell.run("number = 1")
    shell.ip.run_cell("int('x')", store_history=False)
    shell.run("%farm fix")
    assert "raised ValueError: invalid literal" in prompt()


def test_an_answer_without_code_is_said(shell: Shell, inputs: list[tuple[str, bool]]) -> None:
    TellingProvider.words = "It is hopeless."
    shell.run("1 / 0")
    _, out = shell.run("%farm fix")
    assert inputs == []
    assert "no code in the answer · context: the error, In[" in out


def test_fix_may_go_with_more_of_the_notebook_and_be_shown_only(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("Zeros happen.")
    shell.run("config = {'zero': 0}")
    shell.run("1 / 0")
    _, out = shell.run("%farm fix --dry-run -c config --file a.md -t 0")
    assert TellingProvider.asked == []
    assert "Zeros happen." in out
    assert "parameters: temperature=0.0" in out
    shell.run("%farm fix --replace")
    assert asked().temperature is None


# --- %farm explain


def test_explain_takes_the_previous_cell_with_its_output_and_variables(shell: Shell) -> None:
    shell.run(FRAME)
    done, _ = shell.run("df.price.max()")
    shell.run("%farm_chat Hi")
    TellingProvider.words = "It is the largest."
    result, out = shell.run("%farm explain")
    assert f"Explain In[{done.execution_count}]." in prompt()
    assert "df.price.max()\n<output>\n2.5\n</output>" in prompt()
    assert "DataFrame, 2 rows x 2 columns" in prompt()
    assert result.result.text == "It is the largest."
    assert f"context: In[{done.execution_count}], df · " in out


@pytest.mark.parametrize("target", ["In[{}]", "{}", "-1"])
def test_explain_takes_a_cell_by_its_number_and_what_is_to_be_heeded(shell: Shell, target: str) -> None:
    done, _ = shell.run("x = 41 + 1")
    shell.run(f"%farm explain {target.format(done.execution_count)} for a child")
    assert prompt().endswith(f"Explain In[{done.execution_count}] for a child")
    assert "x = 41 + 1" in prompt()


def test_explain_takes_a_function_or_a_variable(shell: Shell, inputs: list[tuple[str, bool]]) -> None:
    shell.run("import json\ndef half(n):\n    return n / 2")
    shell.run("%farm explain half")
    assert prompt().endswith("Explain half.")
    assert "return n / 2" in prompt()
    shell.run("%farm explain json.dumps")
    assert "function json.dumps(obj" in prompt()
    assert inputs == [], "an explanation proposes no cell"


def test_explain_answers_a_question_mark_with_words_and_help_with_help(shell: Shell) -> None:
    shell.run("x = 1")
    shell.run("%farm explain x why?")
    assert prompt().endswith("Explain x why?")
    shell.run("%farm explain x?")
    assert prompt().endswith("Explain x.")
    _, out = shell.run("%farm help explain")
    assert "CELL_OR_NAME" in out
    _, out = shell.run("%farm fix?")
    assert "HINT" in out


def test_where_nothing_was_run_there_is_nothing_to_be_explained(shell: Shell) -> None:
    shell.ip.history_manager.input_hist_raw[:] = ["", "%farm model telling:it"]
    error, _ = shell.error("%farm explain")
    assert "no cell was run before this one" in str(error)


def test_the_value_can_be_assigned(shell: Shell) -> None:
    shell.run("x = 1")
    shell.run("told = %farm explain x")
    assert shell.ip.user_ns["told"].text == TellingProvider.words
