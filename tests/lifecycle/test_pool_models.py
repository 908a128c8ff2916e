"""The models of a farm by hand, whichever provider has them: swapped, watched, and given up together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest
from toy_loader import SIZE, ToyLoader
from toy_loop import virtual_time
from toy_shelf import ADAPTED, ToyShelf, Using, all_of, settled, turns

from farm_notebook.config import FarmConfig, ModelsConfig
from farm_notebook.errors import InvalidRequestError, LoadError, OutOfMemoryError, ProviderConnectionError
from farm_notebook.pool.models import Models
from farm_notebook.providers.base import AIProvider
from farm_notebook.types import (
    ChatRequest,
    Embeddings,
    Event,
    LoadOptions,
    LoadProgress,
    ModelInfo,
    ModelRef,
    ModelStatus,
    ProviderStatus,
)

A, B, ADAPTER, BASE = (ModelRef("toy", name) for name in ("a", "b", "adapter", "base"))
SETTINGS = ModelsConfig(watch_interval_s=0.5, settle_s=1.0)


class ToyProvider(AIProvider):
    """A provider of toys."""

    name = "toy"

    def __init__(self, loader: ToyLoader, settings: ModelsConfig) -> None:
        super().__init__(FarmConfig())
        self.shelf = ToyShelf(loader, settings)
        self.is_reachable = True

    def stream(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        raise NotImplementedError

    async def embed(self, texts: Sequence[str], model: str) -> Embeddings:
        raise NotImplementedError

    async def list_models(self) -> list[ModelInfo]:
        return []

    async def health_check(self) -> ProviderStatus:
        raise NotImplementedError

    def load_model(self, model: str) -> AsyncGenerator[LoadProgress, None]:
        return self.shelf.load(model)

    async def place_model(self, model: str, options: LoadOptions) -> AsyncGenerator[LoadProgress, None]:
        async with aclosing(self.shelf.load(model, options)) as loading:
            async for progress in loading:
                yield progress

    async def reload_model(
        self, model: str, *, drain_s: float | None = None
    ) -> AsyncGenerator[LoadProgress, None]:
        async with aclosing(self.shelf.reload(model, drain_s=drain_s)) as loading:
            async for progress in loading:
                yield progress

    async def unload_model(self, model: str) -> bool:
        return await self.shelf.put_away(model)

    async def set_aside_model(self, model: str) -> bool:
        return await self.shelf.set_aside(model)

    async def interrupt_model(self, model: str) -> None:
        await self.shelf.interrupt(model)

    async def model_statuses(self) -> list[ModelStatus]:
        if not self.is_reachable:
            raise ProviderConnectionError("There is no server.", provider=self.name)
        return self.shelf.statuses()

    async def fingerprint(self, model: str) -> str | None:
        if model == "nonsense":
            raise InvalidRequestError("There is no model of that name.")
        return self.shelf.toys.files.get(model, "1")

    async def loaded_fingerprint(self, model: str) -> str | None:
        version = self.shelf.versions().get(model)
        return version.value.text if version is not None else None

    async def aclose(self) -> None:
        await self.shelf.end()


class Toys:
    """A farm of toys and a second provider, which has none.

    Args:
        loader: Of the toys.
        settings: Of models.
    """

    def __init__(self, loader: ToyLoader | None = None, settings: ModelsConfig = SETTINGS) -> None:
        self.provider = ToyProvider(loader or ToyLoader(), settings)
        self.other = ToyProvider(ToyLoader(), settings)
        self.shelf = self.provider.shelf
        self.toys = self.shelf.toys
        self.models = Models(self, self.shelf.lifecycle)

    def get(self, name: str) -> AIProvider:
        assert name == "toy"
        return self.provider

    def made(self) -> Sequence[AIProvider]:
        return [self.other, self.provider]

    async def load(self, *refs: ModelRef) -> None:
        for ref in refs:
            await all_of(self.models.load(ref))

    async def __aenter__(self) -> Toys:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.models.aclose()
        await self.other.aclose()
        await self.provider.aclose()


# Swapping


@virtual_time
async def test_a_swap_takes_no_more_memory_than_one_of_the_two_and_back_is_a_copy() -> None:
    async with Toys(ToyLoader(room=SIZE)) as farm:
        await farm.load(A)
        await all_of(farm.models.swap(A, B))
        assert (farm.shelf.state("a"), farm.shelf.state("b")) == ("aside", "ready")
        assert (farm.toys.device_bytes, farm.toys.host_bytes) == (SIZE, SIZE)
        await all_of(farm.models.swap(B, A))
        assert (farm.shelf.state("a"), farm.shelf.state("b")) == ("ready", "aside")
        assert farm.toys.loads == {"a": 1, "b": 1}


@virtual_time
async def test_what_does_not_fit_in_host_memory_is_given_up_by_a_swap() -> None:
    async with Toys(settings=ModelsConfig(warm_bytes=SIZE - 1)) as farm:
        await farm.load(A)
        await all_of(farm.models.swap(A, B))
        assert (farm.shelf.state("a"), farm.shelf.state("b")) == ("absent", "ready")


@virtual_time
async def test_what_cannot_be_moved_is_unloaded_by_a_swap() -> None:
    async with Toys(ToyLoader(room=SIZE)) as farm:
        farm.toys.can_park = False
        await farm.load(A)
        await all_of(farm.models.swap(A, B))
        assert (farm.shelf.state("a"), farm.shelf.state("b")) == ("absent", "ready")


@pytest.mark.parametrize("can_park", [True, False])
@virtual_time
async def test_where_the_other_cannot_be_loaded_the_first_is_back(can_park: bool) -> None:
    async with Toys(ToyLoader(room=SIZE)) as farm:
        farm.toys.can_park = can_park
        farm.toys.files["b"] = "corrupt"
        await farm.load(A)
        with pytest.raises(LoadError, match="b is corrupt"):
            await all_of(farm.models.swap(A, B))
        assert (farm.shelf.state("a"), farm.shelf.state("b")) == ("ready", "failed")
        assert await farm.shelf.ask("a") == "1"


@virtual_time
async def test_a_swap_that_is_stopped_anywhere_leaves_one_of_the_two_answering() -> None:
    ends = set[str]()
    is_through = False
    stop_after = 0
    while not is_through:
        async with Toys(ToyLoader(room=SIZE)) as farm:
            await farm.load(A)
            swap = asyncio.create_task(all_of(farm.models.swap(A, B)))
            await turns(stop_after)
            is_through = swap.done()
            swap.cancel()
            await asyncio.wait([swap])
            (ready,) = farm.shelf.versions()
            assert farm.shelf.state(ready) == "ready"
            assert farm.toys.device_bytes == SIZE
            ends.add(ready)
        stop_after += 1
    assert ends == {"a", "b"}
    assert stop_after > 5


@virtual_time
async def test_who_closes_the_progress_of_a_swap_has_the_first_back() -> None:
    async with Toys(ToyLoader(room=SIZE)) as farm:
        await farm.load(A)
        farm.toys.gates["b"] = asyncio.Event()
        async with aclosing(farm.models.swap(A, B)) as swap:
            await anext(swap)
        assert list(farm.shelf.versions()) == ["a"]
        farm.toys.gates["b"].set()
        async with aclosing(farm.models.swap(A, B)) as swap:
            await anext(swap)
        assert list(farm.shelf.versions()) == ["b"]  # which had come already


@virtual_time
async def test_where_the_first_does_not_come_back_either_the_error_says_so() -> None:
    async with Toys(ToyLoader(room=SIZE)) as farm:
        await farm.load(A)
        farm.toys.files["b"] = "corrupt"
        farm.toys.gates["b"] = asyncio.Event()
        swap = asyncio.create_task(all_of(farm.models.swap(A, B)))
        await turns()
        farm.toys.room = 1
        farm.toys.gates["b"].set()
        with pytest.raises(LoadError, match="b is corrupt") as caught:
            await swap
        assert caught.value.__notes__ == [
            "toy:a is not back: 10 bytes do not fit. The next request loads it."
        ]
        farm.toys.room = SIZE
        assert await farm.shelf.ask("a") == "1"


@virtual_time
async def test_a_model_is_not_swapped_with_itself() -> None:
    async with Toys() as farm:
        await all_of(farm.models.swap(A, A))
        version = farm.shelf.versions()["a"]
        async with farm.shelf.hold("a"):
            await all_of(farm.models.swap(A, A))
        assert farm.shelf.versions() == {"a": version}


@virtual_time
async def test_what_was_not_in_memory_is_not_brought_there_by_a_swap_that_fails() -> None:
    async with Toys() as farm:
        farm.toys.files["b"] = "corrupt"
        with pytest.raises(LoadError):
            await all_of(farm.models.swap(A, B))
        assert farm.shelf.state("a") == "absent"


@virtual_time
async def test_a_model_that_somebody_has_in_hand_is_not_swapped() -> None:
    async with Toys() as farm, farm.shelf.lease("a"):
        with pytest.raises(InvalidRequestError, match="leased"):
            await all_of(farm.models.swap(A, B))
        assert list(farm.shelf.versions()) == ["a"]


@virtual_time
async def test_a_model_that_is_being_reloaded_is_swapped_and_comes_back_too() -> None:
    async with Toys(ToyLoader(room=2 * SIZE)) as farm:
        await farm.load(A)
        farm.toys.gates["a"] = asyncio.Event()
        farm.toys.files.update(a="2", b="corrupt")
        reload = asyncio.create_task(all_of(farm.models.reload(A)))
        await turns()
        swap = asyncio.create_task(all_of(farm.models.swap(A, B)))
        await turns()
        farm.toys.gates["a"].set()
        await reload
        with pytest.raises(LoadError):
            await swap
        assert await farm.shelf.ask("a") == "2"


@virtual_time
async def test_an_adapter_is_swapped_with_its_base() -> None:
    async with Toys(ToyLoader(room=SIZE + 1, bases=ADAPTED)) as farm:
        await farm.load(ADAPTER)
        await all_of(farm.models.swap(ADAPTER, B))
        assert list(farm.shelf.versions()) == ["b"]
        await all_of(farm.models.swap(B, ADAPTER))
        assert sorted(farm.shelf.versions()) == ["adapter", "base"]
        assert farm.toys.loads == {"base": 1, "adapter": 2, "b": 1}


# All of them


@virtual_time
async def test_all_are_given_up_with_those_that_stand_on_others() -> None:
    async with Toys(ToyLoader(bases=ADAPTED)) as farm:
        await farm.load(A, ADAPTER)
        await farm.provider.set_aside_model("a")
        farm.toys.files["b"] = "corrupt"
        with pytest.raises(LoadError):
            await farm.load(B)
        assert set(await farm.models.unload_all()) == {A, BASE, ADAPTER}
        assert await farm.models.statuses() == []
        assert await farm.models.unload_all() == ()


@virtual_time
async def test_all_are_given_up_also_where_one_fails() -> None:
    class Stuck(ToyProvider):
        async def unload_model(self, model: str) -> bool:
            await super().unload_model(model)
            if model == "a":
                raise OutOfMemoryError("It is stuck.", provider="toy")
            await asyncio.sleep(10)
            return True

    async with Toys() as farm:
        farm.provider.__class__ = Stuck
        await farm.load(A, B)
        with pytest.raises(OutOfMemoryError):
            await farm.models.unload_all()
        assert farm.shelf.versions() == {}
        assert asyncio.all_tasks() == {asyncio.current_task()}


@virtual_time
async def test_answers_under_way_are_ended_where_that_is_wanted_also_of_those_who_come_at_that_moment() -> (
    None
):
    async def client(farm: Toys, delay: int) -> None:
        await turns(delay)
        async with farm.shelf.hold("a") as version:
            interrupts = version.value.interrupts
            while version.value.interrupts == interrupts:  # noqa: ASYNC110 - a toy tells nothing by itself
                await asyncio.sleep(0.01)

    async with Toys() as farm:
        await farm.load(A)
        clients = [asyncio.create_task(client(farm, delay)) for delay in range(8)]
        await turns(3)
        begin = asyncio.get_running_loop().time()
        assert await farm.models.unload(A, interrupt=True)
        assert asyncio.get_running_loop().time() - begin < 1
        while not all(each.done() for each in clients):  # some came to another generation
            await farm.models.unload(A, interrupt=True)


@virtual_time
async def test_who_stops_an_unloading_by_force_leaves_nothing_behind() -> None:
    async with Toys() as farm, farm.shelf.hold("a"):
        unloading = asyncio.create_task(farm.models.unload(A, interrupt=True))
        await asyncio.sleep(0.05)
        unloading.cancel()
        await asyncio.wait([unloading])
        assert unloading.cancelled()
        assert list(farm.shelf.versions()) == ["a"]


# Freeing


@virtual_time
async def test_what_is_idle_is_freed_and_what_stays_says_why() -> None:
    pinned, leased, working, idle = (
        ModelRef("toy", name) for name in ("pinned", "leased", "working", "idle")
    )
    async with Toys() as farm:
        await all_of(farm.models.load(pinned, pin=True))
        await farm.load(idle)
        async with Using(farm.shelf, "working"), farm.shelf.lease("leased"):
            unloaded, kept = await farm.models.free_idle()
        assert unloaded == (idle,)
        assert dict(kept) == {
            pinned: "it is pinned",
            leased: "it is leased, by a block `with farm.models.lease(...)`",
            working: "it is answering 1 request",
        }
        assert (await farm.models.free_idle())[0] == (leased, working)


@virtual_time
async def test_a_base_stays_as_long_as_an_adapter_on_it_does() -> None:
    async with Toys(ToyLoader(bases=ADAPTED)) as farm:
        await all_of(farm.models.load(ADAPTER, pin=True))
        unloaded, kept = await farm.models.free_idle()
        assert (unloaded, dict(kept)) == ((), {ADAPTER: "it is pinned", BASE: "toy:adapter stands on it"})
        await all_of(farm.models.load(ADAPTER, pin=False))
        assert set((await farm.models.free_idle())[0]) == {ADAPTER, BASE}


@virtual_time
async def test_what_was_set_aside_is_freed_and_what_failed_is_none_to_free() -> None:
    async with Toys(ToyLoader(room=SIZE)) as farm:
        await farm.load(A)
        await all_of(farm.models.swap(A, B))
        unloaded, kept = await farm.models.free_idle()
        assert (set(unloaded), kept, farm.toys.device_bytes) == ({A, B}, (), 0)
        assert farm.toys.host_bytes == 0


@virtual_time
async def test_a_provider_that_cannot_be_reached_has_no_models_to_tell_of() -> None:
    async with Toys() as farm:
        await farm.load(A)
        farm.other.is_reachable = False
        assert [status.ref for status in await farm.models.statuses()] == [A]


@virtual_time
async def test_a_defect_of_a_provider_is_not_hidden() -> None:
    class Broken(ToyProvider):
        async def model_statuses(self) -> list[ModelStatus]:
            raise ZeroDivisionError

    async with Toys() as farm:
        farm.other.__class__ = Broken
        with pytest.raises(ZeroDivisionError):
            await farm.models.statuses()


@virtual_time
async def test_a_status_tells_whether_a_model_is_pinned_and_watched() -> None:
    async with Toys(settings=ModelsConfig(pinned=("toy:b",))) as farm:
        await all_of(farm.models.load(A, pin=True))
        await farm.load(B)
        await farm.models.watch(A)
        told = {status.ref: (status.is_pinned, status.is_watched) for status in await farm.models.statuses()}
        assert told == {A: (True, True), B: (True, False)}
        await all_of(farm.models.load(A, pin=False))
        await farm.models.unwatch(A)
        told = {status.ref: (status.is_pinned, status.is_watched) for status in await farm.models.statuses()}
        assert told == {A: (False, False), B: (True, False)}


@virtual_time
async def test_a_model_that_could_not_be_loaded_is_not_pinned() -> None:
    async with Toys() as farm:
        with pytest.raises(InvalidRequestError):
            await all_of(farm.models.load(A, LoadOptions(device="moon"), pin=True))
        assert not farm.shelf.lifecycle.is_pinned(A)


# Watching


@virtual_time
async def test_a_watched_model_answers_from_its_new_files() -> None:
    async with Toys() as farm:
        await farm.load(A)
        assert await farm.models.watch(A)
        assert not await farm.models.watch(A)
        farm.toys.files["a"] = "2"
        await asyncio.sleep(10)
        assert await farm.shelf.ask("a") == "2"
        farm.toys.files["a"] = "corrupt"
        await asyncio.sleep(10)
        assert await farm.shelf.ask("a") == "2"
        assert farm.toys.loads == {"a": 3}
        assert await farm.models.unwatch(A)
        assert not await farm.models.unwatch(A)
        farm.toys.files["a"] = "4"
        await asyncio.sleep(10)
        assert await farm.shelf.ask("a") == "2"


@virtual_time
async def test_a_name_that_is_wrong_is_not_watched() -> None:
    async with Toys() as farm:
        with pytest.raises(InvalidRequestError):
            await farm.models.watch(ModelRef("toy", "nonsense"))
        assert farm.shelf.lifecycle.watched == set()


@virtual_time
async def test_a_model_of_the_settings_is_watched_once_it_is_in_memory_unless_that_was_ended() -> None:
    async with Toys(settings=SETTINGS.model_copy(update={"watch": ("toy:a",)})) as farm:
        await farm.load(A, B)
        assert farm.shelf.lifecycle.watched == {A}
        farm.toys.files["a"] = "2"
        await asyncio.sleep(10)
        assert await farm.shelf.ask("a") == "2"
        assert await farm.models.unwatch(A)
        await all_of(farm.models.reload(A))
        assert farm.shelf.lifecycle.watched == set()
        await farm.models.watch(A)
        assert farm.shelf.lifecycle.watched == {A}


@virtual_time
async def test_settings_that_are_set_later_hold() -> None:
    async with Toys() as farm:
        farm.models.set_policies(ModelsConfig(watch=("toy:a",), pinned=("toy:a",)))
        await farm.load(A)
        assert farm.shelf.lifecycle.is_pinned(A)
        assert farm.shelf.lifecycle.watched == {A}


@virtual_time
async def test_a_reload_that_a_watch_began_ends_with_it() -> None:
    farm = Toys()
    await farm.load(A)
    await farm.models.watch(A)
    farm.toys.gates["a"] = asyncio.Event()
    farm.toys.files["a"] = "2"
    await settled()
    assert farm.shelf.state("a") == "reloading"
    await farm.models.aclose()
    assert farm.shelf.state("a") == "ready"
    assert await farm.shelf.ask("a") == "1"
    async with farm:
        pass
