"""Prices: what the settings say, what costs nothing, what is published, and what nobody knows."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import pytest
from genai_prices import Usage as Counts
from genai_prices import calc_price

from farm_notebook.config import load_config
from farm_notebook.prices import Prices
from farm_notebook.types import ModelRef, Usage

USAGE = Usage(input_tokens=12_000, output_tokens=3_000, cached_tokens=5_000, reasoning_tokens=1_000)
COUNTS = {
    "input_tokens": 12_000,
    "output_tokens": 3_000,
    "cache_read_tokens": 5_000,
    "output_reasoning_tokens": 1_000,
}


def prices(*, local: tuple[str, ...] = (), **settings: Any) -> Prices:
    return Prices(load_config(settings), lambda ref: ref.provider in local)


def bringing(known: Prices) -> threading.Thread | None:
    """The thread that brings the published prices in, once there was one."""
    return known._importing


def published(model: str, provider: str) -> float:
    """What genai-prices itself says of ``USAGE``."""
    return float(calc_price(Counts(**COUNTS), model, provider_id=provider).total_price)


def test_the_settings_of_a_model_come_before_those_of_its_provider_and_before_all_else() -> None:
    known = prices(
        local=("here",),
        prices={
            "openai:gpt-4o": {"input": 1.0, "output": 2.0, "cached_input": 0.5},
            "openai": {"input": 10.0, "output": 20.0},
            "here": {"input": 3.0, "output": 0.0},
        },
    )
    assert known.cost(ModelRef("openai", "gpt-4o"), USAGE) == pytest.approx(0.0155)
    assert known.cost(ModelRef("openai", "gpt-4o-mini"), USAGE) == pytest.approx(0.18)
    assert known.cost(ModelRef("here", "any"), USAGE) == pytest.approx(0.036)


def test_a_model_that_runs_here_costs_nothing_whatever_was_counted() -> None:
    known = prices(local=("here",))
    assert known.cost(ModelRef("here", "gpt-4o"), USAGE) == 0.0
    assert known.cost(ModelRef("here", "gpt-4o"), Usage()) == 0.0


@pytest.mark.parametrize("model", ["gpt-4o", "o3", "gpt-5", "gpt-4o-mini"])
def test_published_prices_count_cached_and_reasoning_tokens_as_their_source_does(model: str) -> None:
    cost = prices(openai={"base_url": "https://api.openai.com/v1"}).cost(ModelRef("openai", model), USAGE)
    assert cost == pytest.approx(published(model, "openai"))
    assert cost is not None
    plain = float(
        calc_price(Counts(input_tokens=12_000, output_tokens=3_000), model, provider_id="openai").total_price
    )
    assert 0 < cost < plain


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("claude-sonnet-4-5", "anthropic"),  # dearer for long prompts
        ("sonar-deep-research", "perplexity"),  # reasoning has a price of its own
        ("sonar-pro", "perplexity"),  # and so has a request
        ("llama-3.3-70b-versatile", "groq"),
    ],
)
def test_a_price_that_is_no_plain_rate_is_what_its_source_says(model: str, provider: str) -> None:
    known = prices(endpoints={provider: {"base_url": "https://gateway.example.com/v1"}})
    assert known.cost(ModelRef(provider, model), USAGE) == pytest.approx(published(model, provider))


def test_a_long_prompt_is_dearer_where_the_price_has_steps() -> None:
    known = prices(endpoints={"anthropic": {"base_url": "https://api.anthropic.com/v1"}})
    ref = ModelRef("anthropic", "claude-sonnet-4-5")
    short, long = known.cost(ref, Usage(100_000, 0)), known.cost(ref, Usage(400_000, 0))
    assert short is not None
    assert long is not None
    assert long > 4 * short


@pytest.mark.parametrize(
    ("url", "provider", "model"),
    [
        ("https://api.groq.com/openai/v1", "groq", "llama-3.3-70b-versatile"),
        ("https://myres.openai.azure.com/openai/v1", "azure", "gpt-4o"),
        ("https://openrouter.ai/api/v1", "openrouter", "anthropic/claude-sonnet-4.5"),
    ],
)
def test_an_endpoint_of_any_name_is_known_by_its_address(url: str, provider: str, model: str) -> None:
    known = prices(endpoints={"work": {"base_url": url}})
    assert known.cost(ModelRef("work", model), USAGE) == pytest.approx(published(model, provider))


@pytest.mark.parametrize(
    ("settings", "ref"),
    [
        ({}, ModelRef("openai", "a-model-nobody-knows")),
        ({}, ModelRef("nobody", "gpt-4o")),
        ({"endpoints": {"vllm": {"base_url": "http://gpu-box:8000/v1"}}}, ModelRef("vllm", "gpt-4o")),
        (
            {"endpoints": {"groq": {"base_url": "http://127.0.0.1:8000/v1"}}},
            ModelRef("groq", "llama-3.3-70b-versatile"),
        ),
        ({"openai": {"base_url": "http://localhost:8000/v1"}}, ModelRef("openai", "gpt-4o")),
        (
            {"endpoints": {"my-openai": {"base_url": "https://models.example.com/v1"}}},
            ModelRef("my-openai", "gpt-4o"),
        ),
    ],
)
def test_what_is_not_known_is_none_and_not_nothing(settings: dict[str, Any], ref: ModelRef) -> None:
    assert prices(**settings).cost(ref, USAGE) is None


@pytest.mark.parametrize("usage", [Usage(), Usage(10), Usage(None, 10)])
def test_a_count_that_is_missing_leaves_the_cost_unknown(usage: Usage) -> None:
    assert prices().cost(ModelRef("openai", "gpt-4o"), usage) is None
    assert prices().cost(ModelRef("openai", "claude-none"), usage) is None


def test_only_the_count_that_has_a_price_need_be_there() -> None:
    assert prices().cost(ModelRef("openai", "text-embedding-3-small"), Usage(1_000_000)) == pytest.approx(
        0.02
    )


def test_a_provider_that_counts_more_cached_or_reasoning_tokens_than_there_are_is_no_error() -> None:
    odd = Usage(input_tokens=10, output_tokens=10, cached_tokens=20, reasoning_tokens=20)
    assert prices().cost(ModelRef("openai", "o3"), odd) == pytest.approx(10 * 0.5e-6 + 10 * 8e-6)


async def test_prices_are_brought_in_by_a_thread_and_only_for_models_that_may_have_one() -> None:
    known = prices(local=("here",), prices={"set": {"input": 1, "output": 1}})
    before = threading.active_count()
    for ref in (ModelRef("here", "x"), ModelRef("set", "x")):
        known.prepare(ref)
        await known.ready(ref)
    assert bringing(known) is None
    assert threading.active_count() == before
    await known.ready(ModelRef("openai", "gpt-4o"))
    thread = bringing(known)
    assert thread is not None
    assert not thread.is_alive()


def test_models_that_run_here_need_no_library() -> None:
    program = (
        "import sys\n"
        "from farm_notebook.config import load_config\n"
        "from farm_notebook.prices import Prices\n"
        "from farm_notebook.types import ModelRef, Usage\n"
        "known = Prices(load_config(), lambda ref: True)\n"
        "ref = ModelRef('llamacpp', 'smollm2:135m')\n"
        "known.prepare(ref)\n"
        "assert known.cost(ref, Usage(1, 1)) == 0.0\n"
        "assert not [name for name in sys.modules if name.startswith('genai_prices')]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_every_published_price_can_be_used() -> None:
    from genai_prices.data_snapshot import get_snapshot

    known = prices()
    openai = next(provider for provider in get_snapshot().providers if provider.id == "openai")
    assert len(openai.models) > 20
    for model in openai.models:
        cost = known.cost(ModelRef("openai", model.id), USAGE)
        assert cost is None or cost >= 0
