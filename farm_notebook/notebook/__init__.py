"""The magics: from a cell's text to an answer that streams into it.

``extension`` registers, ``transformer`` rewrites cells, ``options`` parses the line, ``interpolation``
says which fields of a prompt are filled, and ``values``, ``figures`` and ``tracebacks`` with what.
``threads`` remembers, ``magics`` puts a request together, ``answer`` runs it, ``display`` and
``segments`` paint it, ``formats`` decides what the painted answer is.
"""
