"""What the package costs, each figure a ratio against a named peer or limit of the same run.

``python -m benchmarks`` runs all, ``python -m benchmarks load_ext iopub`` some, ``--write`` keeps the
tables in ``RESULTS.md``. ``children`` holds what runs in other processes. Nothing here asserts a time:
a missed goal is a "no" in a table.

On a machine with a GPU and no network: ``FARM_OFFLINE=1 python -m benchmarks models devices heartbeat
huggingface --write``. Models are made on the spot, as large as the GPU, host memory and the disk of
``TMPDIR`` allow.
"""
