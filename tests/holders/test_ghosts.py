"""What was given up and is still in memory is known as long as it is, and no longer."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from farm_notebook.holders.ghosts import Ghost, Ghosts
from farm_notebook.holders.names import Namespace

torch = pytest.importorskip("torch")

LAYER_BYTES = (8 * 8 + 8) * 4


@pytest.fixture(autouse=True)
def only_new_objects() -> Iterator[None]:
    """The search looks past what was there before; torch alone makes a million objects."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class Model:
    """Not a torch module."""


def module() -> Any:
    """Two layers, and a third that shares the first one's weight."""
    layers = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(3)))
    layers[2].weight = layers[0].weight
    return layers


def ghost_of(model: object) -> Ghost:
    return Ghost(model, ref="huggingface:m", generation=3)


def left_of(make: Callable[[Any], object]) -> tuple[Ghost, dict[str, Any]]:
    """A ghost of a module of which only what is made of it is left, as the variable ``x``."""
    layers = module()
    ghost, names = ghost_of(layers), {"x": make(layers)}
    del layers
    gc.collect()
    return ghost, names


def test_a_plain_object_is_held_as_a_whole_or_gone() -> None:
    model = Model()
    ghost = Ghost(model, ref="llamacpp:m", generation=1, size_bytes=100)
    assert (ghost.is_alive, ghost.held_bytes(), ghost.objects()) == (True, 100, [model])
    del model
    assert (ghost.is_alive, ghost.held_bytes(), ghost.objects()) == (False, 0, [])


def test_an_object_that_cannot_be_watched_is_taken_as_gone() -> None:
    assert not Ghost((1, 2), ref="m", generation=1, size_bytes=100).is_alive


def test_a_modules_size_counts_shared_weights_once() -> None:
    layers = module()
    ghost = ghost_of(layers)
    assert ghost.size_bytes == ghost.held_bytes() == 2 * LAYER_BYTES + 8 * 4
    del layers
    gc.collect()
    assert (ghost.is_alive, ghost.held_bytes()) == (False, 0)


@pytest.mark.parametrize(
    ("make", "held_bytes", "path", "holds"),
    [
        (lambda layers: layers, 2 * LAYER_BYTES + 32, "x", "Sequential"),
        (lambda layers: layers[1], LAYER_BYTES, "x", "Linear"),
        (lambda layers: layers[0].weight, 256, "x", "Parameter"),
        (lambda layers: layers[0].weight.detach(), 256, "x", "Tensor"),
        (lambda layers: layers[0].weight.data[2:4], 256, "x", "Tensor"),
        (lambda layers: layers[1].state_dict(), LAYER_BYTES, "x['weight']", "Tensor"),
        (lambda layers: layers[1].weight.detach().numpy(), 256, "x", "Tensor"),
        (lambda layers: (layers[1].weight * 2).sum(), 256, "x", "Tensor"),
        (
            lambda layers: torch.optim.SGD(layers.parameters()),
            2 * LAYER_BYTES + 32,
            "x.param_groups[0]['params'][0]",
            "Parameter",
        ),
    ],
)
def test_whatever_part_of_the_memory_is_held_is_counted_and_its_holder_named(
    make: Callable[[Any], object], held_bytes: int, path: str, holds: str
) -> None:
    ghost, names = left_of(make)
    ghosts = Ghosts()
    ghosts.add(ghost)
    assert ghost.held_bytes() == ghosts.held_bytes() == held_bytes
    ((told, (holder,)),) = ghosts.explain([Namespace(names)])
    assert told is ghost
    assert (holder.path, holder.holds, holder.advice) == (path, holds, "del x")
    del told
    names.clear()
    assert ghosts.explain([Namespace(names)]) == ()
    assert ghost.held_bytes() == 0


@pytest.mark.parametrize(
    ("make", "holds"),
    [
        (lambda layers: layers[1].weight.untyped_storage(), "memory"),
        (lambda layers: torch.utils.dlpack.to_dlpack(layers[1].weight.detach()), "Tensor"),
    ],
)
def test_memory_that_no_name_leads_to_is_told_honestly(make: Callable[[Any], object], holds: str) -> None:
    ghost, names = left_of(make)
    ghosts = Ghosts()
    ghosts.add(ghost)
    assert ghost.held_bytes() == 256
    ((_, (holder,)),) = ghosts.explain([Namespace(names)])
    assert (holder.kind, holder.holds) == ("unknown", holds)
    names.clear()
    assert ghosts.alive() == ()


def test_a_ghost_keeps_nothing() -> None:
    layers = module()
    watched = weakref.ref(layers[0].weight)
    ghost = ghost_of(layers)
    ghost.objects()
    ghosts = Ghosts()
    ghosts.add(ghost)
    ghosts.leftovers()
    del layers
    gc.collect()
    assert watched() is None


def test_those_that_are_gone_are_forgotten() -> None:
    ghosts, models = Ghosts(), [Model(), Model()]
    for number, model in enumerate(models):
        ghosts.add(Ghost(model, ref=f"m{number}", generation=number, size_bytes=10))
    del model
    assert ghosts.held_bytes() == 20
    del models[0]
    (ghost,) = ghosts.alive()
    assert (ghost.ref, ghosts.held_bytes()) == ("m1", 10)


def test_a_model_that_is_given_up_again_and_again_leaves_nothing() -> None:
    ghosts = Ghosts()
    for _ in range(3):
        ghosts.add(ghost_of(module()))
        gc.collect()
    assert len(ghosts._ghosts) == 1


def test_weights_that_were_moved_elsewhere_are_not_held_where_they_were() -> None:
    layers = module()
    ghost = ghost_of(layers)
    layers.to(torch.float64)
    gc.collect()
    assert (ghost.held_bytes(), ghost.is_alive) == (0, True)


def test_what_has_no_memory_is_no_weight() -> None:
    ghost = ghost_of(torch.nn.Linear(8, 8, device="meta"))
    assert ghost.size_bytes == 0


def test_leftovers_are_told_from_other_objects() -> None:
    ghost, names = left_of(lambda layers: [layers[1], layers[0].weight.detach()])
    ghosts = Ghosts()
    ghosts.add(ghost)
    layer, weight = names["x"]
    array = weight.numpy()
    is_left = ghosts.leftovers()
    assert all(map(is_left, (layer, layer.weight, weight, array)))
    assert not any(map(is_left, (names, ghost, torch.zeros(2), None)))


def test_only_the_holders_of_the_one_are_told_with_it() -> None:
    ghosts = Ghosts()
    names: dict[str, Any] = {}
    for name in "ab":
        names[name] = module()
        ghosts.add(Ghost(names[name], ref=name, generation=1))
    told = {
        ghost.ref: [holder.path for holder in holders]
        for ghost, holders in ghosts.explain([Namespace(names)])
    }
    assert told == {"a": ["a"], "b": ["b"]}


@pytest.mark.slow
def test_a_language_model_is_gone_as_a_whole() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    small = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    names = {"model": LlamaForCausalLM(small)}
    ghosts = Ghosts()
    ghosts.add(ghost_of(names["model"]))
    ((ghost, (holder,)),) = ghosts.explain([Namespace(names)])
    model = names["model"]
    assert ghost.held_bytes() == sum(each.nbytes for each in (*model.parameters(), *model.buffers()))
    assert (holder.advice, holder.holds) == ("del model", "LlamaForCausalLM")
    del ghost, model
    names.clear()
    gc.collect()
    assert ghosts.alive() == ()
