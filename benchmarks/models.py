"""Models while they come and go: how long that takes beside what cannot be undercut, and what memory is left.

The model has random weights and is made on the spot; how large it is depends on the device. With a GPU the
limits are copies between it and pinned memory. Without one nothing is copied, since a model that is set aside
is in host memory already; a copy within that is named so that the figures mean something.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

from benchmarks.checkpoints import TINY, Shape, best_device, fitting
from benchmarks.measure import Settings, run_child, spread
from benchmarks.report import Row, Table, at_most

ROUNDS = {"cuda": 3, "cpu": 7}
CYCLES = {"cuda": 3, "cpu": 20}
LOADS: dict[str, tuple[tuple[str, str, str, float | None], ...]] = {
    "cuda": (("cold load", "ours", "naive", 0.6),),
    "cpu": (
        ("cold load, of the hub's cache", "hub", "naive", 1.05),
        ("cold load, of a folder", "ours", "naive", 1.05),
        ("cold load, of a folder", "ours", "copied", None),
    ),
}
PEERS = {"naive": "from_pretrained", "copied": "from_pretrained, weights copied"}
GOAL_BACK, GOAL_BACK_MS = 1.15, 30
GOAL_SWAP = 1.25
GOAL_FREE_BYTES = 2 << 20
GOAL_RESIDENT = 1.05
STAGING_BYTES = 64 << 20  # on the device: a first pass, and cuBLAS' workspace
REPOSITORY, COMMIT = "bench/model", "0" * 40
NO_GPU = (
    "Without a GPU a model that is set aside stays where it is, so that the copies in memory only give an "
    "idea of its size; and there is neither memory of torch's own to give back, nor a device too small for "
    "two models. torch has one thread.",
    "By hand the weights are the mapped file, of which nothing is read before the first token. Through the "
    "farm they are that only in the hub's cache, where nobody changes a file; of a folder they are a copy. "
    "The farm's load also has the tokenizer, and one word answered.",
)
ELSEWHERE = "What a look at the GPU costs is in `devices`, how long the heartbeat stays away in `heartbeat`."

Sample: TypeAlias = dict[str, int]  # bytes


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured, and where.

    Args:
        kind: Of the device.
        device: As torch names it.
        shape: Of the models.
        folders: Of two that are the same but for the name, and of a tiny one.
        environment: In which the hub's cache has a third.
    """

    kind: str
    device: str
    shape: Shape
    folders: tuple[Path, Path, Path]
    environment: dict[str, str]

    def child(self, module: str, *arguments: object) -> Any:
        """What a child process found."""
        return run_child(module, *map(str, arguments), environment=self.environment)

    @property
    def place(self) -> tuple[str, str]:
        """Device and number format."""
        return self.device, self.shape.dtype


def run(settings: Settings) -> Table:
    """One child after the other, each in a process of its own."""
    if find_spec("transformers") is None:
        return Table("models", "Models.", (), ('pip install "farm-notebook[huggingface]"',))
    device = best_device()
    rounds = settings.rounds or ROUNDS[device.kind]
    with _subject() as subject:
        shape = subject.shape
        title = (
            f"A Llama of {shape.name} parameters of random weights, {shape.size_bytes / 1e9:.1f} GB in "
            f"{shape.dtype}, on {device.name}; its files are in the system's cache. Medians (least to "
            f"greatest) of {rounds} interleaved rounds."
        )
        rows = [*_load_rows(subject, rounds), *_swap_rows(subject, rounds), *_memory_rows(subject)]
    notes = (ELSEWHERE,) if subject.kind == "cuda" else (*NO_GPU, ELSEWHERE)
    return Table("models", title, tuple(rows), notes)


@contextmanager
def _subject() -> Iterator[Subject]:
    """Models on disk, until this is left; the weights are there once, under three names."""
    device = best_device()
    with TemporaryDirectory() as folder:
        shape = fitting(device, Path(folder))
        here, there, tiny = (Path(folder, name) for name in ("here", "there", "tiny"))
        cached = Path(folder, "hub", f"models--{REPOSITORY.replace('/', '--')}")
        run_child("model_checkpoint", shape.name, device.id, str(here))
        run_child("model_checkpoint", TINY.name, "cpu", str(tiny))
        for same in (there, cached / "snapshots" / COMMIT):
            same.mkdir(parents=True)
            for file in here.iterdir():
                os.link(file, same / file.name)
        (cached / "refs").mkdir()
        (cached / "refs" / "main").write_text(COMMIT)
        environment = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(cached.parent)}
        yield Subject(device.kind, device.id, shape, (here, there, tiny), environment)


def _load_rows(subject: Subject, rounds: int) -> Iterator[Row]:
    taken = subject.child("model_loads", subject.folders[0], *subject.place, rounds, REPOSITORY)
    for measure, ours, peer, goal in LOADS[subject.kind]:
        (loaded, first), (loaded_by_hand, first_by_hand) = (
            zip(*taken[way], strict=True) for way in (ours, peer)
        )
        yield _beside(measure, loaded, loaded_by_hand, PEERS[peer], goal)
        yield _beside("· and a first token", first, first_by_hand, f"{PEERS[peer]}, tokenizer, generate")


def _swap_rows(subject: Subject, rounds: int) -> Iterator[Row]:
    size = subject.shape.size_bytes
    found = subject.child("model_swaps", *subject.folders, *subject.place, size, rounds)
    taken = {name: [each[name] for each in found["rounds"]] for name in found["rounds"][0]}
    both = _sums(taken["to"], taken["from"])
    if subject.kind == "cuda":
        limit_s = median(taken["to"]) * GOAL_BACK + GOAL_BACK_MS / 1e3
        back = _beside("back from host memory", taken["back"], taken["to"], "a pinned copy to the device")
        goal = f"≤ {GOAL_BACK:g} times + {GOAL_BACK_MS} ms"
        yield replace(back, goal=goal, met=median(taken["back"]) <= limit_s)
        yield _beside("swap, both in memory", taken["swap"], both, "a pinned copy each way", GOAL_SWAP)
    else:
        yield _beside("back from host memory, not copied", taken["back"], taken["to"], "a copy in memory")
        yield _beside("swap, both in memory, not copied", taken["swap"], both, "two copies in memory")
    yield Row("swap, the other from disk", f"{found['cold'] * 1e3:,.0f} ms")
    after, warm = (_sums(taken["swap"], taken[token]) for token in ("first", "warm"))
    yield _beside("a swap and a first token", after, warm, "the swap and a warm first token")


def _memory_rows(subject: Subject) -> Iterator[Row]:
    size, cycles = subject.shape.size_bytes, CYCLES[subject.kind]
    found = subject.child("model_memory", *subject.folders[:2], *subject.place, size, cycles)
    before, first, *later = found["samples"]
    resident, after_one = later[-1]["resident"], first["resident"]
    yield at_most(
        f"resident set after {cycles} loads, answers and unloads",
        _mib(resident),
        f"after one: {_mib(after_one)}",
        resident / after_one,
        GOAL_RESIDENT,
    )
    yield Row("· before the first", _mib(before["resident"]))
    if subject.kind == "cuda":
        yield from _device_rows(before, first, later)
        yield from _peak_rows(size, found["peaks"])


def _device_rows(before: Sample, first: Sample, later: Sequence[Sample]) -> Iterator[Row]:
    """What is left on the device after unloads. The first load brings kernels there, which CUDA keeps."""
    allocated = max(sample["allocated"] for sample in (first, *later))
    shown = f"{allocated:,} bytes"
    yield Row("allocated by torch after an unload", shown, goal="0 bytes", met=allocated == 0)
    missing = first["free"] - min(sample["free"] for sample in later)
    yield Row(
        "missing in the driver's free memory",
        _mib(missing),
        "after the first unload",
        goal=f"≤ {_mib(GOAL_FREE_BYTES)}",
        met=missing <= GOAL_FREE_BYTES,
    )
    yield Row("· after the first, of a bare context", _mib(before["free"] - first["free"]))


def _peak_rows(size_bytes: int, peaks: Sequence[Sample]) -> Iterator[Row]:
    room = size_bytes + STAGING_BYTES
    for coming, peak in zip(("from disk", "from host memory"), peaks, strict=True):
        yield at_most(
            f"peak of a swap with no room for two, {coming}",
            f"{peak['allocated'] / 1e9:,.2f} GB",
            f"a model + {_mib(STAGING_BYTES)}: {room / 1e9:,.2f} GB",
            peak["allocated"] / room,
            1,
        )
        yield Row("· reserved by torch", f"{peak['reserved'] / 1e9:,.2f} GB")


def _beside(
    measure: str, ours: Sequence[float], limits: Sequence[float], peer: str, goal: float | None = None
) -> Row:
    """A row of seconds, with a ratio of medians."""
    middle_ms, ratio = median(limits) * 1e3, median(ours) / median(limits)
    digits = 0 if middle_ms >= 100 else 1
    shown, limit = spread([each * 1e3 for each in ours], "ms", digits), f"{peer}: {middle_ms:,.{digits}f} ms"
    return Row(measure, shown, limit, ratio) if goal is None else at_most(measure, shown, limit, ratio, goal)


def _sums(some: Sequence[float], others: Sequence[float]) -> list[float]:
    return [one + other for one, other in zip(some, others, strict=True)]


def _mib(size_bytes: float) -> str:
    return f"{size_bytes / 2**20:,.0f} MiB"
