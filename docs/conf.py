"""The documentation as a site: ``make docs`` writes it to build/docs, without a network.

Pages are Markdown; the gallery is the folder of notebooks; what is told of code is made from it by the
modules in ``extensions``.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from farm_notebook import __version__
from farm_notebook.errors import DOCS_URL

project = "farm_notebook"
author = "the authors of farm_notebook"
release = version = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "extensions.docstrings",
    "extensions.gallery",
    "extensions.links",
    "extensions.mathml",
    "extensions.tables",
]
exclude_patterns = ["examples", "extensions", "**/.ipynb_checkpoints", "gallery/*.py", "gallery/README.md"]

# Markdown and notebooks
myst_enable_extensions = ["colon_fence", "dollarmath", "fieldlist"]
myst_dmath_allow_space = myst_dmath_allow_digits = False  # or two prices in a line are a formula
myst_heading_anchors = 4
nb_execution_mode = "off"  # extensions/gallery executes what has a cassette
nb_mime_priority_overrides = [("html", "text/markdown", 5), ("html", "text/html", 1)]
nb_merge_streams = True
nb_render_markdown_format = "gfm"  # answers have tables
suppress_warnings = ["mystnb.unknown_mime_type"]  # of what is shown in another form anyway

# The reference
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"exclude-members": "model_config"}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
nitpicky = True
# Of other packages nothing is fetched, so their names lead nowhere; type variables have no entries.
nitpick_ignore_regex = [("py:.*", r"(?!farm_notebook\.).*|.*\.[A-Z]")]

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = "farm_notebook"
html_baseurl = f"{DOCS_URL}/"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
smartquotes = False
html_show_sourcelink = False
html_math_renderer = "mathml"
copybutton_selector = "div:not(.output) > div.highlight > pre"
