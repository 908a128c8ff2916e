"""transformers as a provider: models of the hub, of folders and of GGUF files, in this process.

``provider`` is the seam to the farm. ``source`` finds a model's files, ``hub`` fetches them, ``checkpoint``
decides which of them may be read, ``loading`` makes a ``LoadedModel`` of them, and ``shelf`` keeps it.
``prompt`` writes a request as the model wants it, an ``engine`` continues it, and ``answer`` makes events of
its tokens.
"""
