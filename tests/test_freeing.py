"""What freeing memory came to is told in lines."""

from __future__ import annotations

from farm_notebook.farm.freeing import FreeReport, HeldModel
from farm_notebook.holders.names import Holder
from farm_notebook.types import DeviceStats, ModelRef

A, B = ModelRef("huggingface", "./a"), ModelRef("llamacpp", "b")
GB = 10**9


def device(free_bytes: int) -> DeviceStats:
    return DeviceStats("cuda:0", "cuda", "H100", 80 * GB, 80 * GB - free_bytes, free_bytes)


def test_what_went_what_stays_and_what_is_held_have_a_line_each() -> None:
    holder = Holder("model", "variable", "del model", "LlamaForCausalLM")
    report = FreeReport(
        unloaded=(A,),
        kept=((B, "it is pinned"),),
        held=(HeldModel(str(A), 3, 2 * GB, (holder,)),),
        before=(device(10 * GB),),
        after=(device(14 * GB),),
    )
    assert str(report).splitlines() == [
        "huggingface:./a is unloaded.",
        "llamacpp:b stays: it is pinned.",
        "huggingface:./a (generation 3) still takes 2.0 GB, held by:",
        "  model (LlamaForCausalLM): del model",
        "cuda:0: 14.0 GB free of 80.0 GB, 4.0 GB more than before.",
    ]


def test_that_nothing_was_idle_is_told_and_that_others_took_memory_meanwhile() -> None:
    report = FreeReport((), (), (), (device(10 * GB),), (device(9 * GB),))
    assert str(report).splitlines() == [
        "No idle model was loaded.",
        "cuda:0: 9.0 GB free of 80.0 GB, 1.0 GB less than before.",
    ]
