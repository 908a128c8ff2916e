"""``python -m farm_notebook.cli``, for where the ``farm`` script is not on the path."""

from farm_notebook.cli import main

main()
