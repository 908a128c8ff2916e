"""The magics: from a cell's text to an answer that streams into it, and the subcommands of ``%farm``.

``extension`` registers, ``transformer`` rewrites cells, ``completion`` completes lines with what is
``known``, and ``keys`` warns of keys in them. ``line`` takes a line apart, ``options`` says what is valid in
it, ``interpolation`` which fields of a prompt are filled, and ``values``, ``figures`` and ``tracebacks`` with
what. ``threads`` remembers, ``magics`` puts a request together, ``dry_run`` describes it, ``answer`` runs it.
``display``, ``progress`` and ``segments`` paint it, ``formats`` decides what the painted answer is.

``commands`` holds the subcommands, a module each; ``tables`` and ``status`` show what they have to say.
"""
