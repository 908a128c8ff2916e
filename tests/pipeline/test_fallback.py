"""Another model is asked where one fails before its first word; no answer is made of two models' words."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farm_notebook import errors
from farm_notebook.config import load_config
from farm_notebook.errors import (
    AuthenticationError,
    BreakerOpenError,
    ContextLengthError,
    FarmError,
    InvalidRequestError,
    NoTargetAnsweredError,
    ProviderConnectionError,
    ProviderError,
    RateLimitedError,
    UnsupportedParameterError,
)
from farm_notebook.pipeline import Handler
from farm_notebook.pipeline import fallback as fallback_module
from farm_notebook.pipeline.fallback import MAY_ANOTHER_ANSWER, fallback, may_another_answer
from farm_notebook.providers.scripted import ScriptedProvider
from farm_notebook.reply import ReplyBuilder
from farm_notebook.types import (
    ChatMessage,
    ChatRequest,
    Event,
    Finished,
    LoadProgress,
    ModelRef,
    PromptProgress,
    ReasoningDelta,
    Rerouted,
    Retrying,
    Route,
    Started,
    TextDelta,
    ToolCall,
)

A, B, C, D = (ModelRef("toy", name) for name in "abcd")
DOWN = ProviderConnectionError("Nothing answers at http://toy (Connection refused). Start it.")
WHY = "Nothing answers at http://toy (Connection refused)"
LONG = ContextLengthError("Too long.", tokens=9000, limit=8192)


def asking(*targets: ModelRef) -> ChatRequest:
    return ChatRequest(targets[0], (ChatMessage("user", "hello"),), route=Route(alternates=targets[1:]))


def answer(ref: ModelRef) -> tuple[Event, ...]:
    return (Started(ref), TextDelta(f"{ref.model} "), TextDelta(f"{ref.model} "), Finished("stop"))


class Models:
    """A handler that plays a script for each model: events, and perhaps an error at the end."""

    def __init__(self, scripts: Mapping[ModelRef, Sequence[Event | BaseException]]) -> None:
        self._scripts = scripts
        self.asked: list[ModelRef] = []
        self.open = 0

    async def __call__(self, request: ChatRequest) -> AsyncGenerator[Event, None]:
        assert not self.open, "one is asked after the other"
        self.asked.append(request.ref)
        self.open += 1
        try:
            for step in self._scripts.get(request.ref, answer(request.ref)):
                if isinstance(step, BaseException):
                    raise step
                yield step
        finally:
            self.open -= 1


class Windows:
    """How large the models' context windows are."""

    def __init__(self, tokens: Mapping[ModelRef, int | Exception | None] | None = None) -> None:
        self._tokens = tokens or {}
        self.asked: list[ModelRef] = []

    async def __call__(self, ref: ModelRef) -> int | None:
        self.asked.append(ref)
        found = self._tokens.get(ref)
        if isinstance(found, Exception):
            raise found
        return found


def falling_back(
    models: Handler,
    *,
    windows: Windows | None = None,
    ailments: Mapping[ModelRef, str] | None = None,
) -> Handler:
    return fallback(context_tokens=windows or Windows(), ailment=({} if ailments is None else ailments).get)(
        models
    )


async def played(handler: Handler, request: ChatRequest) -> tuple[list[Event], BaseException | None]:
    """The events that came, and the error that ended them."""
    seen: list[Event] = []
    try:
        async with aclosing(handler(request)) as events:
            async for event in events:
                seen.append(event)
    except Exception as error:  # noqa: BLE001 - it is looked at
        return seen, error
    return seen, None


# Who is asked


async def test_an_answer_at_once_is_passed_on_and_nobody_else_is_asked() -> None:
    models = Models({})
    assert await played(falling_back(models), asking(A, B)) == ([*answer(A)], None)
    assert models.asked == [A]


async def test_the_next_model_answers_and_it_is_told_why() -> None:
    models = Models({A: (Started(A), DOWN)})
    seen, error = await played(falling_back(models), asking(A, B))
    assert (seen, error) == ([Started(A), Rerouted(A, B, WHY), *answer(B)], None)
    assert models.open == 0


async def test_alternates_are_asked_in_turn_until_one_answers() -> None:
    models = Models({A: (DOWN,), B: (LoadProgress("load", 1, 2), RateLimitedError("Slow down."))})
    seen, error = await played(falling_back(models), asking(A, B, C, D))
    assert error is None
    assert seen == [
        Rerouted(A, B, WHY),
        LoadProgress("load", 1, 2),
        Rerouted(B, C, "Slow down"),
        *answer(C),
    ]
    assert models.asked == [A, B, C]


async def test_a_handler_that_refuses_at_once_is_a_failure_too() -> None:
    provider = ScriptedProvider(load_config())

    def picky(request: ChatRequest) -> AsyncGenerator[Event, None]:
        if request.ref == A:
            raise UnsupportedParameterError("a takes no seed.")
        return provider.answer(replace(request, ref=ModelRef("scripted", "count-2")))

    seen, error = await played(falling_back(picky), asking(A, B))
    assert error is None
    assert seen[0] == Rerouted(A, B, "a takes no seed")
    assert isinstance(seen[-1], Finished)


async def test_a_single_model_costs_nothing_and_raises_its_own_error() -> None:
    stream = Models({})(asking(A))
    handler = falling_back(lambda request: stream)
    assert handler(asking(A)) is stream
    assert handler(asking(A, A, A)) is stream, "one that is named twice is one"
    await stream.aclose()
    seen, error = await played(falling_back(Models({A: (DOWN,)})), asking(A))
    assert (seen, error) == ([], DOWN)


def test_switched_off_it_is_not_there() -> None:
    models = Models({})
    assert fallback(context_tokens=Windows(), enabled=False)(models) is models


async def test_a_model_that_is_named_twice_is_asked_once() -> None:
    models = Models({A: (DOWN,), B: (DOWN,)})
    _, error = await played(falling_back(models), asking(A, B, A, B))
    assert isinstance(error, NoTargetAnsweredError)
    assert models.asked == [A, B]


async def test_the_request_goes_on_as_it_came_but_for_its_model() -> None:
    seen: list[ChatRequest] = []

    async def down(request: ChatRequest) -> AsyncGenerator[Event, None]:
        seen.append(request)
        yield Started(request.ref)
        raise DOWN

    request = replace(asking(A, B), seed=7)
    await played(falling_back(down), request)
    assert seen == [request, replace(request, ref=B)]


# Only before the first word


@pytest.mark.parametrize(
    "said", [TextDelta(""), ReasoningDelta("a"), ToolCall("1", "f", "{}"), Finished("stop")], ids=repr
)
async def test_once_something_was_said_an_error_is_raised_as_it_is(said: Event) -> None:
    models = Models({A: (Started(A), said, DOWN)})
    assert await played(falling_back(models), asking(A, B)) == ([Started(A), said], DOWN)
    assert models.asked == [A]


async def test_a_stand_in_that_breaks_in_the_middle_raises_its_own_error() -> None:
    broken = ProviderConnectionError("It broke.")
    models = Models({A: (DOWN,), B: (Started(B), TextDelta("Hel"), broken)})
    seen, error = await played(falling_back(models), asking(A, B, C))
    assert seen == [Rerouted(A, B, WHY), Started(B), TextDelta("Hel")]
    assert error is broken
    assert broken.__context__ is None
    assert models.asked == [A, B]


@pytest.mark.parametrize(
    "progress",
    [LoadProgress("load", 1, 2), Started(A), Retrying(A, "busy", 0.5), PromptProgress(1, 2)],
    ids=repr,
)
async def test_progress_is_no_word(progress: Event) -> None:
    seen, error = await played(falling_back(Models({A: (progress, DOWN)})), asking(A, B))
    assert (seen, error) == ([progress, Rerouted(A, B, WHY), *answer(B)], None)


async def test_leaving_closes_the_model_that_is_asked() -> None:
    models = Models({A: (DOWN,)})
    async with aclosing(falling_back(models)(asking(A, B))) as events:
        assert [await anext(events) for _ in range(2)] == [Rerouted(A, B, WHY), Started(B)]
        assert models.open == 1
    assert models.open == 0


async def test_a_cancelled_request_asks_nobody_else() -> None:
    models, has_begun = Models({}), asyncio.Event()

    async def silent(request: ChatRequest) -> AsyncGenerator[Event, None]:
        models.asked.append(request.ref)
        has_begun.set()
        await asyncio.Event().wait()
        yield Started(request.ref)

    task = asyncio.create_task(played(falling_back(silent), asking(A, B)))
    await has_begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert models.asked == [A]


# Which errors lead on

KINDS = sorted(
    (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, FarmError)),
    key=lambda kind: kind.__name__,
)
OUR_OWN = {
    "InvalidRequestError",
    "CassetteError",
    "ConfigError",
    "ContentRefusedError",
    "InterruptedReply",
    "InvalidAnswerError",
    "ModelUnloadedError",
    "NotRecordedError",
    "RequestBlockedError",
    "FarmError",
}


def made(kind: type[FarmError]) -> FarmError:
    if issubclass(kind, NoTargetAnsweredError):
        return kind("None did.", [DOWN])
    if issubclass(kind, errors.ProviderTimeoutError):
        return kind("Failed.", timer="connect")
    if issubclass(kind, errors.BudgetExceededError):
        return kind("Failed.", budget="budget.cost_per_day")
    if issubclass(kind, errors.InvalidAnswerError):
        return kind("Failed.", text="{}")
    return kind("Failed.")


def test_the_table_has_every_error_and_no_other() -> None:
    assert set(MAY_ANOTHER_ANSWER) == set(KINDS)
    assert {kind.__name__ for kind in KINDS} == {*errors.__all__} - {"TimerName"}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
async def test_an_error_leads_on_only_where_another_model_may_answer(kind: type[FarmError]) -> None:
    models, failed = Models({A: (Started(A), made(kind))}), kind.__name__
    seen, error = await played(falling_back(models), asking(A, B))
    if failed in OUR_OWN:
        assert (seen, type(error), models.asked) == ([Started(A)], kind, [A])
    else:
        assert (error, models.asked, seen[2:]) == (None, [A, B], [*answer(B)])


def test_an_error_that_the_table_does_not_have_is_as_what_it_inherits_from() -> None:
    class Odd(FarmError):
        pass

    class Overloaded(ProviderError):
        pass

    class TooLarge(ContextLengthError):
        pass

    assert [may_another_answer(kind("x")) for kind in (Odd, Overloaded, TooLarge)] == [False, True, True]


@pytest.mark.parametrize(
    "foreign", [KeyError("x"), RuntimeError("x"), TimeoutError("x"), MemoryError()], ids=repr
)
async def test_a_foreign_error_is_raised_as_it_is(foreign: Exception) -> None:
    models = Models({A: (foreign,)})
    assert await played(falling_back(models), asking(A, B)) == ([], foreign)
    assert models.asked == [A]


async def test_an_error_that_leads_nowhere_ends_it_also_in_the_middle_of_a_chain() -> None:
    wrong = InvalidRequestError("No model could take that.")
    models = Models({A: (DOWN,), B: (wrong,)})
    seen, error = await played(falling_back(models), asking(A, B, C))
    assert (seen, error) == ([Rerouted(A, B, WHY)], wrong)
    assert wrong.__context__ is None


# When all fail


async def test_when_all_fail_the_error_lists_each_with_its_cause() -> None:
    key = AuthenticationError("The key was refused.\n  Set TOY_API_KEY.")
    models = Models({A: (DOWN,), B: (Started(B), key)})
    _, error = await played(falling_back(models), asking(A, B))
    assert isinstance(error, NoTargetAnsweredError)
    assert str(error) == (
        "None of the 2 models that may answer did.\n"
        "- toy:a: Nothing answers at http://toy (Connection refused). Start it.\n"
        "- toy:b: The key was refused. Set TOY_API_KEY."
    )
    assert (error.exceptions, error.provider) == ((DOWN, key), "toy")


async def test_no_failure_is_the_context_of_another() -> None:
    causes = [ProviderConnectionError(f"{number}") for number in range(3)]
    models = Models(dict(zip((A, B, C), [(cause,) for cause in causes], strict=True)))
    _, error = await played(falling_back(models), asking(A, B, C))
    assert isinstance(error, NoTargetAnsweredError)
    assert [each.__context__ or each.__cause__ for each in (error, *causes)] == [None] * 4


async def test_a_problem_is_one_short_line() -> None:
    models = Models({A: (ProviderError("It said:\n" + "very " * 100),), B: (ProviderError(""),)})
    seen, _ = await played(falling_back(models), asking(A, B, C))
    problems = [event.problem for event in seen if isinstance(event, Rerouted)]
    assert len(problems[0]) <= fallback_module.LONGEST_PROBLEM
    assert problems[0].startswith("It said: very very")
    assert problems[0].endswith("…")
    assert problems[1] == "ProviderError"


# Models that are known to be unwell


async def test_a_model_known_to_be_unwell_is_asked_after_the_others() -> None:
    models = Models({})
    handler = falling_back(models, ailments={A: "toy is asleep. Wake it."})
    seen, error = await played(handler, asking(A, B))
    assert (seen, error) == ([Rerouted(A, B, "toy is asleep"), *answer(B)], None)
    assert models.asked == [B]


async def test_one_that_was_held_back_is_asked_in_the_end_and_the_error_says_so() -> None:
    models = Models(dict.fromkeys((A, B, C), (DOWN,)))
    handler = falling_back(models, ailments={A: "asleep", B: "broken"})
    seen, error = await played(handler, asking(A, B, C))
    assert models.asked == [C, A, B]
    assert seen == [Rerouted(A, C, "asleep"), Rerouted(C, A, WHY), Rerouted(A, B, WHY)]
    lines = str(error).splitlines()
    assert lines[1].startswith("- toy:c: Nothing answers")
    assert lines[2].startswith("- toy:a (asked late: asleep): Nothing answers")
    assert lines[3].startswith("- toy:b (asked late: broken): Nothing answers")


async def test_when_all_are_unwell_they_are_asked_all_the_same() -> None:
    models = Models({A: (DOWN,)})
    seen, error = await played(falling_back(models, ailments={A: "x", B: "x"}), asking(A, B))
    assert (seen, error) == ([Rerouted(A, B, WHY), *answer(B)], None)


async def test_one_that_fell_ill_meanwhile_is_held_back_too() -> None:
    ailments: dict[ModelRef, str] = {}

    async def infectious(request: ChatRequest) -> AsyncGenerator[Event, None]:
        ailments[B] = "fell ill"
        if request.ref == A:
            raise DOWN
        for event in answer(request.ref):
            yield event

    seen, _ = await played(falling_back(infectious, ailments=ailments), asking(A, B, C))
    assert seen == [Rerouted(A, C, WHY), *answer(C)]


# Prompts that are too long


async def test_after_a_prompt_too_long_larger_windows_come_first_and_no_larger_ones_are_left_out() -> None:
    models = Models({A: (LONG,), C: (DOWN,)})
    windows = Windows({A: 4096, B: 8192, C: 16_384, D: None})
    seen, error = await played(falling_back(models, windows=windows), asking(A, D, B, C))
    assert error is None
    assert models.asked == [A, C, D]
    assert seen == [Rerouted(A, C, "Too long"), Rerouted(C, D, WHY), *answer(D)]


async def test_the_error_tells_who_was_left_out_and_why() -> None:
    models = Models({A: (LONG,)})
    _, error = await played(falling_back(models, windows=Windows({B: 2048})), asking(A, B))
    assert isinstance(error, NoTargetAnsweredError)
    assert error.exceptions == (LONG,)
    assert str(error).splitlines()[1:] == [
        "- toy:a: Too long.",
        "- toy:b was not asked: its context window of 2,048 tokens is not larger than the 8,192 of toy:a.",
    ]
    assert models.asked == [A]


async def test_without_a_limit_in_the_error_the_models_own_window_counts() -> None:
    models = Models({A: (ContextLengthError("Too long."),), D: (DOWN,)})
    windows = Windows({A: 8192, B: 8192, C: None, D: 8193})
    await played(falling_back(models, windows=windows), asking(A, B, C, D))
    assert models.asked == [A, D, C]


async def test_a_larger_window_that_the_prompt_still_does_not_fit_into_does_not_come_first() -> None:
    models = Models({A: (LONG,), C: (DOWN,), D: (DOWN,)})
    windows = Windows({B: 8500, C: None, D: 9000})
    await played(falling_back(models, windows=windows), asking(A, B, C, D))
    assert models.asked == [A, D, B]


async def test_where_no_window_is_known_the_order_stays() -> None:
    models = Models({A: (ContextLengthError("Too long."),), B: (DOWN,)})
    windows = Windows({A: DOWN, B: KeyError("a provider's fault"), C: 100})
    await played(falling_back(models, windows=windows), asking(A, B, C))
    assert models.asked == [A, B, C]


async def test_a_window_that_is_not_told_in_time_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fallback_module, "WINDOW_WAIT_S", 0.01)

    async def never(ref: ModelRef) -> int | None:
        await asyncio.Event().wait()
        return None

    models = Models({A: (LONG,)})
    seen, error = await played(fallback(context_tokens=never)(models), asking(A, B))
    assert (seen, error) == ([Rerouted(A, B, "Too long"), *answer(B)], None)


async def test_no_window_is_asked_for_after_another_error() -> None:
    windows = Windows()
    await played(falling_back(Models({A: (DOWN,)}), windows=windows), asking(A, B))
    assert windows.asked == []


async def test_an_unwell_model_stays_behind_however_large_its_window() -> None:
    models = Models({A: (LONG,)})
    handler = falling_back(models, windows=Windows({C: 99_999}), ailments={C: "asleep"})
    await played(handler, asking(A, C, B))
    assert models.asked == [A, B]


# Whatever happens


@dataclass(frozen=True)
class Script:
    """What a model does: some progress, some words, and how it ends."""

    loads: int
    words: int
    end: Callable[[], BaseException] | None

    def steps(self, ref: ModelRef) -> list[Event | BaseException]:
        said = [TextDelta(f"{ref.model} ")] * self.words
        end = Finished("stop") if self.end is None else self.end()
        return [*[LoadProgress("load", 1, 2)] * self.loads, Started(ref), *said, end]

    @property
    def goes_on(self) -> bool:
        if self.end is None or self.words:
            return False
        error = self.end()
        return isinstance(error, FarmError) and may_another_answer(error)


def _failing(kind: type[FarmError]) -> Callable[[], BaseException]:
    return lambda: made(kind)


SCRIPTS = st.builds(
    Script,
    loads=st.integers(0, 2),
    words=st.sampled_from([0, 0, 0, 1, 3]),
    end=st.none()
    | st.sampled_from([kind for kind in KINDS if kind is not ContextLengthError]).map(_failing)
    | st.just(lambda: KeyError("foreign")),
)
CHAINS = st.lists(st.sampled_from([A, B, C, D]), min_size=1, max_size=6)
LETTERS = {
    Rerouted: "R",
    LoadProgress: "L",
    Started: "S",
    TextDelta: "D",
    Finished: "F",
}
LEGAL = re.compile("[RL]*(S[RLS]*(D*F?)?)?")


async def as_whole(handler: Handler, request: ChatRequest) -> tuple[object, object]:
    """What a caller gets who waits for the whole answer: text and model, or an error's kind and words."""
    builder = ReplyBuilder(request)
    try:
        async with aclosing(handler(request)) as events:
            async for event in events:
                builder.add(event)
    except Exception as error:  # noqa: BLE001 - it is looked at
        return type(error), str(error)
    reply = builder.build()
    return reply.text, reply.ref


@given(
    chain=CHAINS,
    scripts=st.fixed_dictionaries(dict.fromkeys((A, B, C, D), SCRIPTS)),
    unwell=st.sets(st.sampled_from([A, B, C, D])),
)
async def test_every_request_ends_in_one_models_answer_or_in_an_error(
    chain: list[ModelRef], scripts: dict[ModelRef, Script], unwell: set[ModelRef]
) -> None:
    models = Models({ref: script.steps(ref) for ref, script in scripts.items()})
    handler = falling_back(models, ailments=dict.fromkeys(unwell, "asleep"))
    seen, error = await played(handler, asking(*chain))

    targets = list(dict.fromkeys(chain))
    order = [*(ref for ref in targets if ref not in unwell), *(ref for ref in targets if ref in unwell)]
    failing = [*(scripts[ref].goes_on for ref in order), False]
    last = failing.index(False)
    assert models.asked == order[: last + 1]
    assert models.open == 0

    text = "".join(event.text for event in seen if isinstance(event, TextDelta))
    assert len({*text.split()}) <= 1, "of one model"
    letters = "".join(LETTERS[type(event)] for event in seen)
    assert LEGAL.fullmatch(letters), letters
    assert letters.count("R") == min(last, len(order) - 1) + (order[0] != targets[0])

    if last == len(order):
        assert isinstance(error, FarmError)
        assert isinstance(error, NoTargetAnsweredError) or (len(order) == 1 and may_another_answer(error))
    else:
        answering = scripts[order[last]]
        assert text == f"{order[last].model} " * answering.words
        if answering.end is None:
            assert error is None
            assert seen[-1] == Finished("stop")
        else:
            assert type(error) is type(answering.end())

    # Who waits for the whole answer gets the same one, or the same error.
    whole = await as_whole(handler, asking(*chain))
    assert whole == ((text, order[last]) if error is None else (type(error), str(error)))


@given(
    windows=st.fixed_dictionaries(dict.fromkeys((A, B, C, D), st.none() | st.integers(1, 5))),
    limit=st.none() | st.integers(1, 5),
    tokens=st.none() | st.integers(1, 5),
    real=st.fixed_dictionaries(dict.fromkeys((A, B, C, D), st.integers(1, 5))),
    prompt=st.integers(1, 6),
)
async def test_however_windows_are_known_no_model_is_asked_twice_and_each_is_accounted_for(
    windows: dict[ModelRef, int | None],
    limit: int | None,
    tokens: int | None,
    real: dict[ModelRef, int],
    prompt: int,
) -> None:
    long = {ref: (ContextLengthError("Too long.", limit=limit, tokens=tokens),) for ref in (A, B, C, D)}
    scripts = {ref: long[ref] if real[ref] < prompt else answer(ref) for ref in (A, B, C, D)}
    models = Models(scripts)
    seen, error = await played(falling_back(models, windows=Windows(windows)), asking(A, B, C, D))
    assert models.asked[0] == A
    assert len({*models.asked}) == len(models.asked)
    if error is None:
        assert seen[-4:] == [*answer(models.asked[-1])]
    else:
        assert isinstance(error, NoTargetAnsweredError)
        told = [line.split()[1].removesuffix(":") for line in str(error).splitlines()[1:]]
        assert sorted(told) == ["toy:a", "toy:b", "toy:c", "toy:d"]
        assert told[: len(models.asked)] == [*map(str, models.asked)]


async def test_the_scripted_provider_falls_back_from_each_of_its_failures_to_one_that_answers() -> None:
    provider = ScriptedProvider(load_config())
    names = ("error-503", "error-auth", "error-quota", "error-context", "truncate-0", "count-3", "echo")
    refs = [ModelRef("scripted", name) for name in names]

    async def dispatch(request: ChatRequest) -> AsyncGenerator[Event, None]:
        """As the farm does: the end of a stream alone is no success."""
        event: Event | None = None
        async with aclosing(provider.answer(request)) as events:
            async for event in events:
                yield event
        if not isinstance(event, Finished):
            raise errors.IncompleteStreamError("It ended without its finish mark.")

    seen, error = await played(falling_back(dispatch), asking(*refs))
    assert error is None
    assert [event.target.model for event in seen if isinstance(event, Rerouted)] == [*names[1:6]]
    assert ScriptedProvider.open_streams == 0
    started = [event.ref.model for event in seen if isinstance(event, Started)]
    assert started[-1] == "count-3", "the last one tells who answers"


async def test_a_provider_that_is_left_alone_is_passed_over() -> None:
    refused = BreakerOpenError("toy failed 5 times in a row, and is not asked for 8.0 s. The last failure: x")
    seen, _ = await played(falling_back(Models({A: (refused,)})), asking(A, B))
    assert seen[0] == Rerouted(A, B, "toy failed 5 times in a row, and is not asked for 8.0 s")
