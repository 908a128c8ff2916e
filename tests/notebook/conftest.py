"""What every test of a kernel that others share leaves behind: a kernel at rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kernels import Kernel


@pytest.fixture(autouse=True)
def left_at_rest(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that fails while its cell runs fails alone."""
    names = {"kernel", "embedded_kernel", "shared_kernel"} & {*request.fixturenames}
    kernels = [request.getfixturevalue(name) for name in sorted(names)]
    yield
    for kernel in kernels:
        if isinstance(kernel, Kernel):
            kernel.rest()
