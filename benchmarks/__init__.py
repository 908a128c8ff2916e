"""What the package costs, each figure a ratio against a named peer or limit of the same run.

``python -m benchmarks`` runs all, ``python -m benchmarks load_ext iopub`` some, ``--write`` keeps the
tables in ``RESULTS.md``. ``children`` holds what runs in other processes. Nothing here asserts a time:
a missed goal is a "no" in a table.
"""
