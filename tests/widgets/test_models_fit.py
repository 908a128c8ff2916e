"""Whether a model fits: into the free memory of the device that it would be put on."""

from __future__ import annotations

import pytest

from farm_notebook.types import DeviceStats
from farm_notebook.widgets.models.fit import Fit, fit

GB = 10**9


def device(id_: str, free_gb: int) -> DeviceStats:
    kind = "cpu" if id_ == "cpu" else "cuda"
    return DeviceStats(id_, kind, "a device", 100 * GB, (100 - free_gb) * GB, free_gb * GB)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size_gb", "expected"), [(1, "fits"), (7, "fits"), (8, "tight"), (9, "tight"), (10, "too large")]
)
def test_on_a_machine_without_a_gpu_the_memory_of_the_machine_counts(size_gb: int, expected: Fit) -> None:
    assert fit(size_gb * GB, [device("cpu", 10)]) == expected


def test_where_there_is_a_gpu_its_memory_counts() -> None:
    assert fit(20 * GB, [device("cuda:0", 10), device("cpu", 90)]) == "too large"
    assert fit(5 * GB, [device("cuda:0", 10), device("cpu", 1)]) == "fits"


def test_several_gpus_count_together() -> None:
    assert fit(15 * GB, [device("cuda:0", 10), device("cuda:1", 12), device("cpu", 1)]) == "fits"
