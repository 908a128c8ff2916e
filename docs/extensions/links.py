"""Links as they are in the repository lead to pages of the site.

A page or notebook links to what lies beside it, as ``../notebooks/quickstart.ipynb``, so that the link works
where the repository is read. Here notebooks are pages below ``gallery``, and some files outside of ``docs``
are pages too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from sphinx.application import Sphinx

__all__ = ["setup"]

LINK = re.compile(r"(?<=\]\()(?![a-z]+:|[/#<])([^)#\s\"\\]+)")
PAGES: Mapping[str, str] = {  # files that a page includes
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/RESULTS.md": "benchmarks.md",
    "farm_notebook/providers/ADDING_A_PROVIDER.md": "adding_a_provider.md",
    "farm_notebook/widgets/js/README.md": "adding_a_panel.md",
}


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _lead_to_pages, priority=600)  # after the gallery
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _lead_to_pages(app: Sphinx, page: str, source: list[str]) -> None:
    docs = Path(app.srcdir)
    folder = Path(app.env.doc2path(page)).resolve().parent  # of a notebook: where it really lies

    def lead(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(folder / link[1]))
        found = _page_of(target, docs) if target.exists() else None
        return link[0] if found is None else f"/{found}"

    source[0] = LINK.sub(lead, source[0])


def _page_of(target: Path, docs: Path) -> str | None:
    """The page that a file of the repository is, seen from the folder of pages; ``None`` where it is none."""
    notebooks = (docs / "gallery").resolve()
    if target.is_relative_to(notebooks) and target.suffix == ".ipynb":
        return f"gallery/{target.stem}"  # with its suffix Sphinx would find the file where it really lies
    if target.is_relative_to(docs):
        return target.relative_to(docs).as_posix()
    return PAGES.get(os.path.relpath(target, docs.parent))
