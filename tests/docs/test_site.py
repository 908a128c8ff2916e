"""The documentation builds as a site: with no warning, no dead link and nothing missing."""

from __future__ import annotations

import html
import inspect
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from unittest.mock import MagicMock
from urllib.parse import unquote, urldefrag

import nbformat
import pytest
from docutils import nodes
from nbformat.v4 import new_code_cell, new_notebook, new_output

sys.path.insert(0, str(Path(__file__).parents[2] / "docs"))

from extensions import gallery, mathml

import farm_notebook
from farm_notebook import Farm, errors
from farm_notebook.config import ENV_PREFIX, FarmConfig
from farm_notebook.config.values import Section
from farm_notebook.errors import DOCS_URL
from farm_notebook.notebook.cells import CELL_MAGICS
from farm_notebook.notebook.commands import COMMANDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SPHINX = (sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q")
LINK = re.compile(r'<(a|link|img|script|iframe|source)\b[^>]*?\s(?:href|src)="([^"]*)"')
ID = re.compile(r'\sid="([^"]+)"')
KINDS: list[type[errors.FarmError]] = [
    kind for name in errors.__all__ if isinstance(kind := getattr(errors, name), type)
]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as it is published, with the notebooks as they were saved."""
    folder, doctrees = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("doctrees")
    command = (
        *SPHINX,
        "-j",
        "2",
        "-d",
        doctrees,
        DOCS,
        folder,
    )  # what is kept is not warned of again
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5_000:]
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> Mapping[Path, str]:
    return {path: path.read_text("utf-8") for path in site.rglob("*.html")}


def test_every_link_within_the_site_leads_somewhere(site: Path, pages: Mapping[Path, str]) -> None:
    ids = {path: {html.unescape(found) for found in ID.findall(text)} for path, text in pages.items()}
    dead = []
    for path, text in pages.items():
        for _, link in LINK.findall(text):
            target, anchor = urldefrag(html.unescape(link))
            if re.match(r"[a-z]+:|//", target):
                continue
            file = (path.parent / unquote(target.partition("?")[0])).resolve() if target else path
            if not file.is_file() or (anchor and file in ids and unquote(anchor) not in ids[file]):
                dead.append(f"{path.relative_to(site)}: {link}")
    assert not dead


def test_a_page_needs_nothing_of_another_server(site: Path, pages: Mapping[Path, str]) -> None:
    asked = {
        f"{path.relative_to(site)}: {link}"
        for path, text in pages.items()
        for kind, link in LINK.findall(text)
        if kind != "a"
        and re.match(r"https?:|//", link)
        and not link.startswith(DOCS_URL)  # the canonical one
    }
    assert not asked


def test_a_formula_is_drawn_by_the_browser_and_one_that_cannot_be_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert "<msup>" in drawn(r"\frac{1}{x^2}")
    assert drawn(r"\nosuchcommand{<x>}") == r"<code>\nosuchcommand{&lt;x&gt;}</code>"
    assert "nosuchcommand" in caplog.text


def test_every_public_name_is_in_the_reference(pages: Mapping[Path, str]) -> None:
    reference = [text for path, text in pages.items() if path.parent.name == "reference"]
    entries = {found.removeprefix("module-") for text in reference for found in ID.findall(text)}
    wanted = {f"farm_notebook.{name}" for name in farm_notebook.__all__}
    for room in (errors, farm_notebook.gpu, farm_notebook.models, farm_notebook.types):
        ours = [name for name in room.__all__ if is_documented(getattr(room, name))]
        wanted |= {f"{room.__name__}.{name}" for name in ours if name not in farm_notebook.__all__}
    assert wanted <= entries


def test_every_error_has_its_page_where_it_says(site: Path, pages: Mapping[Path, str]) -> None:
    for kind in KINDS:
        assert site / kind.docs_url.removeprefix(f"{DOCS_URL}/") in pages


def test_every_option_subcommand_and_setting_is_in_the_reference(pages: Mapping[Path, str]) -> None:
    told = {
        html.unescape(re.sub(r"<[^>]+>", "", found))
        for path, text in pages.items()
        if path.parent.name == "reference"
        for found in re.findall(r"<code[^>]*>(.*?)</code>", text, re.DOTALL)
    }
    words = {word for text in told for word in (text, *re.split(r"[ ,]+", text))}
    options = {name for magic in CELL_MAGICS.values() for name in magic.parser().options()}
    for command in COMMANDS.values():
        options |= command.parser().options().keys() - {"-h", "--help"}
    assert options <= words
    assert {f"%farm {name}" for name in COMMANDS} <= told
    assert set(variables(FarmConfig(), ENV_PREFIX)) <= words


def test_every_notebook_is_a_page_of_the_gallery(site: Path, pages: Mapping[Path, str]) -> None:
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        assert site / "gallery" / f"{path.stem}.html" in pages
        assert f'href="gallery/{path.stem}.html"' in pages[site / "gallery.html"]


def test_every_error_is_explained_on_a_page_and_nothing_else_is() -> None:
    told = {path.stem: path.read_text("utf-8") for path in (DOCS / "errors").glob("*.md")}
    assert told.keys() - {"index"} == {kind.__name__ for kind in KINDS}
    for kind in KINDS:
        text = told[kind.__name__]
        assert text.startswith(f"# {kind.__name__}\n")
        assert "## Why it happens" in text
        assert "## What to do" in text


@pytest.mark.kernel
def test_a_notebook_with_a_cassette_is_executed_on_replay(tmp_path: Path) -> None:
    record(tmp_path / "gallery" / "story.farm.jsonl", "Is it new?")
    assert "IS IT NEW?" in shown(tmp_path, "story", "Is it new?")


@pytest.mark.kernel
def test_a_notebook_that_fails_on_replay_is_warned_of_which_ends_the_build(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record(tmp_path / "gallery" / "story.farm.jsonl", "Is it what was recorded?")
    shown(tmp_path, "story", "Has it changed?")
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "story.ipynb: cell 1 failed: NotRecordedError" in warning.getMessage()


def test_a_notebook_without_a_cassette_is_shown_as_it_was_saved(tmp_path: Path) -> None:
    assert "as it was saved" in shown(tmp_path, "story", "Is it old?")


def test_a_notebook_that_needs_what_is_not_installed_is_shown_as_it_was_saved(tmp_path: Path) -> None:
    record(tmp_path / "gallery" / "story.farm.jsonl", "Is it new?")
    assert "as it was saved" in shown(tmp_path, "story", "Is it new?", "import no_such_package_here")


def drawn(formula: str) -> str:
    """What a page shows of a formula in a line."""
    app, writer = MagicMock(), MagicMock(body=[])
    mathml.setup(app)
    (_, (visit, _), _), _ = app.add_html_math_renderer.call_args
    with pytest.raises(nodes.SkipNode):
        visit(writer, nodes.math(formula, formula))
    return "".join(writer.body)


def is_documented(thing: object) -> bool:
    """Whether it has a docstring of its own; what stands for other types has none."""
    return inspect.isclass(thing) or inspect.isfunction(thing)


def variables(section: Section, prefix: str) -> list[str]:
    """The variables that set it, those of the sections in it among them."""
    found: list[str] = []
    for name in type(section).model_fields:
        value = getattr(section, name)
        variable = f"{prefix}{name.upper()}"
        found += variables(value, f"{variable}__") if isinstance(value, Section) else [variable]
    return found


def record(path: Path, question: str) -> None:
    path.parent.mkdir()
    own = Farm()
    own.use_cassette("record", path)
    own.chat(question, model="scripted:echo")
    own.close()


def shown(docs: Path, name: str, question: str, line: str = "") -> str:
    """What a page shows of a notebook whose one cell asks a question; it was saved with another output."""
    ask = f'print(farm.chat("{question}", model="scripted:echo").text.upper())'
    cell = new_code_cell(
        f"import farm_notebook as farm\n{line}\n{ask}", outputs=[new_output("stream", text="as it was saved")]
    )
    path = docs / "gallery" / f"{name}.ipynb"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(new_notebook(cells=[cell]), path)
    app = MagicMock()
    app.config.gallery_replay = True
    app.env.doc2path.return_value = path
    gallery.setup(app)
    (_, show), _ = app.connect.call_args
    source = [path.read_text("utf-8")]
    show(app, f"gallery/{name}", source)
    cells = nbformat.reads(source[0], as_version=4).cells
    return "".join(output.text for cell in cells for output in cell.get("outputs", ()))
