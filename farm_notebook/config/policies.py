"""Settings of what stands between a caller and a provider, a section each policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from farm_notebook.config.values import Section, Variable, as_redis_url

__all__ = [
    "BreakerConfig",
    "BudgetConfig",
    "CacheConfig",
    "CassetteConfig",
    "DisplayConfig",
    "FallbackConfig",
    "HealthConfig",
    "HistoryConfig",
    "LimitConfig",
    "LimitsConfig",
    "ModelsConfig",
    "PriceConfig",
    "RedisConfig",
    "RetryConfig",
    "TelemetryConfig",
    "TimeoutConfig",
]


class TimeoutConfig(Section):
    """The timers of one request, in seconds; ``None`` waits for ever. Loading a model is exempt.

    Args:
        connect_s: Until the provider accepts the connection.
        first_event_s: From sending to the first sign of life.
        idle_s: Between two events of a stream.
        total_s: For the whole answer.
    """

    connect_s: float | None = Field(default=10.0, gt=0)
    first_event_s: float | None = Field(default=300.0, gt=0)
    idle_s: float | None = Field(default=120.0, gt=0)
    total_s: float | None = Field(default=None, gt=0)


class RetryConfig(Section):
    """Asking again where a provider was busy, broken or out of reach, and had said nothing.

    Args:
        attempts: In all; 1 never asks again.
        first_backoff_s: Longest wait before the second attempt; it doubles with each further one.
        longest_backoff_s: Where that ends.
        longest_wait_s: What a provider may ask to wait; asked for more, its error is raised at once.
    """

    attempts: int = Field(default=3, ge=1, le=20)
    first_backoff_s: float = Field(default=0.5, ge=0)
    longest_backoff_s: float = Field(default=20.0, ge=0)
    longest_wait_s: float = Field(default=120.0, ge=0)


class ModelsConfig(Section):
    """Models in the memory of this machine: who makes room for whom, and which are loaded anew by themselves.

    Args:
        evict: Unload idle models where another does not fit, the least recently used first. Without it the
            error says which could be.
        pinned: Models that are never unloaded for another.
        warm_bytes: How much of host memory may hold models that were set aside, from where they come back
            without a load; ``None`` is a quarter of it, and 0 keeps none.
        drain_s: How long answers under way may take to end before a model is unloaded or replaced under them.
        watch: Models that are loaded anew when their files, or their version on a server, change.
        watch_interval_s: Between two looks at them.
        settle_s: How long files must have stayed the same before they are read: a saver may be at work.
    """

    evict: bool = False
    pinned: tuple[str, ...] = ()
    warm_bytes: int | None = Field(default=None, ge=0)
    drain_s: float = Field(default=300.0, ge=0)
    watch: tuple[str, ...] = ()
    watch_interval_s: float = Field(default=0.5, gt=0)
    settle_s: float = Field(default=1.0, ge=0)


class FallbackConfig(Section):
    """Asking another model where the one that was meant fails before it said anything.

    Args:
        enabled: Whether any other model is asked.
        chain: Whom to ask, in this order: models or aliases. An alias may have a chain of its own.
    """

    enabled: bool = True
    chain: tuple[str, ...] = ()


class BreakerConfig(Section):
    """Leaving a provider alone that failed again and again, until one request in a while shows it is back.

    Args:
        enabled: Whether any provider is ever left alone.
        failures: How many in a row it takes.
        open_s: How long it is left alone; each time that it then fails again, twice as long.
        longest_open_s: Where that ends.
    """

    enabled: bool = True
    failures: int = Field(default=5, ge=1)
    open_s: float = Field(default=10.0, gt=0)
    longest_open_s: float = Field(default=300.0, gt=0)


class LimitConfig(Section):
    """How much may be asked; ``None`` sets no limit.

    Args:
        requests_per_minute: Begun in any 60 seconds.
        tokens_per_minute: Of prompts and answers together, in any 60 seconds.
        concurrency: Answers under way at the same time.
    """

    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    concurrency: int | None = Field(default=None, ge=1)


class LimitsConfig(LimitConfig):
    """How much may be asked of each provider, by all kernels of this user; a request that is too early waits.

    Args:
        per: Limits of single providers (``openai``) or models (``openai:gpt-4o``), by name. A provider's own
            take the place of the general ones; a model's are kept beside its provider's.
        longest_wait_s: A request that would have to wait longer is an error at once.
    """

    per: Mapping[str, LimitConfig] = Field(default_factory=dict)
    longest_wait_s: float = Field(default=120.0, ge=0)


class BudgetConfig(Section):
    """How much may be spent; ``None`` sets no bound. A request that might exceed it is refused, not sent.

    Args:
        cost_per_day: US dollars from midnight to midnight, local time, by all kernels of this user.
        tokens_per_day: Of prompts and answers together, likewise.
        cost_per_notebook: US dollars, by one notebook, on one day.
        tokens_per_notebook: Of prompts and answers together, likewise.
        unknown_price: What happens under a bound on cost to a model whose price nobody knows.
    """

    cost_per_day: float | None = Field(default=None, ge=0)
    tokens_per_day: int | None = Field(default=None, ge=0)
    cost_per_notebook: float | None = Field(default=None, ge=0)
    tokens_per_notebook: int | None = Field(default=None, ge=0)
    unknown_price: Literal["refuse", "allow"] = "refuse"


class PriceConfig(Section):
    """What a model costs, in US dollars a million tokens.

    Args:
        input: Tokens of the prompt.
        output: Tokens of the answer, its reasoning included.
        cached_input: Tokens of the prompt that the provider had kept; ``None`` is the price of any other.
    """

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached_input: float | None = Field(default=None, ge=0)


class RedisConfig(Section):
    """A Redis server that a team's kernels share: for kept answers, limits and budgets.

    Args:
        url: As in ``redis://localhost:6379/0``; ``rediss`` is encrypted. ``None`` uses files of this machine.
        username: Of Redis's access control, where it has one.
        password_env: The variable that holds the password, where there is one.
        prefix: Begins every key.
    """

    url: Annotated[str, AfterValidator(as_redis_url)] | None = None
    username: str | None = None
    password_env: Variable | None = "REDIS_PASSWORD"
    prefix: str = Field(default="farm:", min_length=1)


class CacheConfig(Section):
    """Answers that are kept, and given again to the same question. Only repeatable ones are: those at
    temperature 0, with a seed, or with the number of a sample; and embeddings, a text each.

    Args:
        enabled: Whether any are kept and given.
        ttl_s: Seconds that an answer is kept.
        max_bytes: Of the file; the answers that were used longest ago make room.
    """

    enabled: bool = True
    ttl_s: float = Field(default=3600.0, gt=0)
    max_bytes: int = Field(default=500_000_000, ge=1_000_000)


class CassetteConfig(Section):
    """Calls that are recorded in a file beside the notebook, and replayed from it without any model.

    Args:
        mode: ``record`` asks and records; ``replay`` asks nobody, and what was not recorded is an error;
            ``auto`` replays what was recorded and records the rest.
        file: The cassette; ``None`` is ``NAME.farm.jsonl`` beside the notebook ``NAME.ipynb``.
        realtime: Replay at the speed at which it was recorded, rather than at once.
        strict: Recorded calls that were never asked for are an error in the end.
        asked_file: To which each recorded call that was asked for is added, a line each, for other programs.
        record_command: What records, as the error of a call that was not recorded is to say; ``None`` is the
            magic.
    """

    text_sets: ClassVar[str | None] = "mode"
    mode: Literal["off", "auto", "record", "replay"] = "off"
    file: Path | None = None
    realtime: bool = False
    strict: bool = False
    asked_file: Path | None = None
    record_command: str | None = None


class HistoryConfig(Section):
    """What is remembered of every call: when, which model, tokens, cost, how it ended.

    Args:
        enabled: Whether anything is.
        texts: Whether prompts and answers are remembered too.
        keep_days: How long.
        max_bytes: Of the file; the oldest calls make room.
    """

    enabled: bool = True
    texts: bool = True
    keep_days: float = Field(default=90.0, gt=0)
    max_bytes: int = Field(default=500_000_000, ge=1_000_000)


class HealthConfig(Section):
    """Asking providers whether they are well.

    Args:
        deadline_s: A provider that has not answered by then is not well.
        ttl_s: How long an answer is believed.
    """

    deadline_s: float = Field(default=5.0, gt=0)
    ttl_s: float = Field(default=30.0, ge=0)


class TelemetryConfig(Section):
    """OpenTelemetry spans, where that is installed.

    Args:
        enabled: Whether any are made.
        content: Whether they hold prompts and answers.
    """

    enabled: bool = True
    content: bool = False


class DisplayConfig(Section):
    """How answers appear in a notebook.

    Args:
        live: Repaint while the answer streams; off shows it once, complete.
        repaint_s: Seconds between two repaints.
    """

    live: bool = True
    repaint_s: float = Field(default=0.15, ge=0.02, le=2.0)
