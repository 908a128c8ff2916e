"""An Ollama server as a provider.

``provider.py`` is the provider, on the requests of ``client.py``. ``body.py`` writes a request, ``stream.py``
and ``ndjson.py`` read an answer, ``failure.py`` knows Ollama's errors. ``index.py`` knows which models there
are, ``pull.py`` brings more; ``url.py`` and ``names.py`` say what an address and a name mean. ``service.py``
starts and stops a server, which runs as in ``process.py`` or as in ``container.py``.
Source: docs/api.md, api/types.go and server/routes.go of https://github.com/ollama/ollama, August 2026.
"""
