"""What of the notebook is put before a prompt: variables, cells, files, within a budget of tokens.

``gather`` reads what is asked for and fits it in; the rest is one module for each kind of thing. Nothing here
asks a model, or knows of a shell but for ``shell``.
"""
