"""What the thread of a ``Batcher`` does: it reads prompts, and takes steps for all who are being answered."""

from __future__ import annotations

import copy
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from farm_notebook.providers.huggingface.failure import generation_error
from farm_notebook.providers.huggingface.picking import Picker
from farm_notebook.providers.huggingface.rows import Rows
from farm_notebook.providers.huggingface.runtime import quiet
from farm_notebook.types import PromptProgress

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, LogitsProcessor, PreTrainedModel

__all__ = ["READ_TOKENS", "Batch", "Item", "Member", "Tokens"]

READ_TOKENS = 128  # of prompts between two steps of the others, and between two looks at whether to stop


@dataclass(frozen=True, slots=True)
class Tokens:
    """The next tokens of an answer.

    Args:
        ids: All that there are since the last; without the one that ended the sequence.
        reason: Why these are the last, with the last.
    """

    ids: tuple[int, ...]
    reason: Literal["stop", "length"] | None = None


Item: TypeAlias = PromptProgress | Tokens | Exception


@dataclass(eq=False, slots=True)
class Member:
    """One request of a batch.

    Args:
        deliver: Takes what there is to tell; called on the loop, the last time with an error or a reason.
    """

    prompt: Sequence[int]
    config: GenerationConfig
    max_tokens: int
    seed: int | None
    processors: Sequence[LogitsProcessor]
    deliver: Callable[[Item], None]
    is_cancelled: bool = False  # set on the loop; all below is the thread's
    picker: Picker | None = None
    read: int = 0  # tokens of the prompt
    given: int = 0  # tokens of the answer
    last: int = 0  # token of the answer, which the module has not seen yet
    is_over: bool = False

    def take(self, token: int) -> Tokens:
        """What the next token means for this answer."""
        assert self.picker is not None
        if token in self.picker.ends:
            self.is_over = True
            return Tokens((), "stop")
        self.picker.add(token)
        self.last = token
        self.given += 1
        self.is_over = self.given >= self.max_tokens
        return Tokens((token,), "length" if self.is_over else None)


class Batch:
    """Those who are being read or answered, and where the module is with each of them.

    Args:
        module: What answers.
        name: Of the model, for errors.
        max_rows: Most answered at once.
        send: Brings items to those they are for; called after each step, with everybody's.
    """

    def __init__(
        self,
        module: PreTrainedModel,
        *,
        name: str,
        max_rows: int,
        send: Callable[[Sequence[tuple[Member, Item]]], None],
    ) -> None:
        self._module = module
        self._name = name
        self._max_rows = max_rows
        self._send = send
        self._reading: list[Member] = []  # one long prompt, or several that are read whole in one piece
        self._read_rows: Rows | None = None
        self._answering: list[Member] = []
        self._rows: Rows | None = None

    def members(self) -> list[Member]:
        """Everyone in it."""
        return [*self._reading, *self._answering]

    def drop_cancelled(self) -> None:
        """Let go of those who left."""
        if self._reading and all(member.is_cancelled for member in self._reading):
            self._reading = []
        going = [row for row, member in enumerate(self._answering) if not member.is_cancelled]
        if len(going) < len(self._answering):
            try:
                self._keep(going)
            except Exception as error:  # noqa: BLE001 - told to who waits for it, in this package's terms
                self._fail_step(error)

    def choose(self, waiting: deque[Member]) -> list[Member]:
        """Take out of a queue who is read next: its first, and those behind it that fit into one piece."""
        chosen: list[Member] = []
        while waiting and not self._reading and len(self._answering) + len(chosen) < self._max_rows:
            longest = max(len(member.prompt) for member in (*chosen, waiting[0]))
            if chosen and longest * (len(chosen) + 1) > READ_TOKENS:
                break
            chosen.append(waiting.popleft())
        return chosen

    def begin(self, chosen: Sequence[Member]) -> None:
        """Let the chosen be read from now on."""
        for member in chosen:
            try:
                with quiet():
                    member.picker = Picker(
                        self._module, member.config, member.prompt, member.seed, member.processors
                    )
            except Exception as error:  # noqa: BLE001 - as above
                self.fail([member], error)
            else:
                self._reading.append(member)
        self._read_rows = Rows(self._module)

    def read(self) -> None:
        """Read one piece of what is to be read; who is read to the end is answered from now on."""
        members, rows = self._reading, self._read_rows
        if not members or rows is None:
            return
        pieces = [member.prompt[member.read : member.read + READ_TOKENS] for member in members]
        try:
            logits = rows.feed(pieces)
            for member, piece in zip(members, pieces, strict=True):
                member.read += len(piece)
            if any(member.read < len(member.prompt) for member in members):  # a long one, which is alone
                self._send([(member, PromptProgress(member.read, len(member.prompt))) for member in members])
                return
            self._reading, self._read_rows = [], None
            if going := self._advance(members, logits):
                rows = rows if len(going) == len(members) else rows.only(going)
                self._rows = rows if self._rows is None else self._rows.with_more(rows)
                self._answering += [members[row] for row in going]
        except Exception as error:  # noqa: BLE001 - as above
            self._reading, self._read_rows = [], None
            self.fail(members, error)

    def step(self) -> None:
        """One token for everyone who is being answered."""
        members, rows = self._answering, self._rows
        if rows is None:
            return
        try:
            going = self._advance(members, rows.feed([[member.last] for member in members]))
            if len(going) < len(members):
                self._keep(going)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail_step(error)

    def fail(self, members: Sequence[Member], error: BaseException) -> None:
        """Tell those who are not answered yet that they will not be, each by an error of its own."""
        traceback.clear_frames(error.__traceback__)  # what is kept of it would keep its tensors too
        failed = [member for member in members if not member.is_over]
        for member in failed:
            member.is_over = True
        self._send([(member, _told(error, self._name)) for member in failed])

    def clear(self) -> None:
        """Let go of everyone."""
        self._reading, self._read_rows = [], None
        self._answering, self._rows = [], None

    def _advance(self, members: Sequence[Member], logits: torch.Tensor) -> list[int]:
        """Give each its next token; the rows of those that go on."""
        import torch

        likeliest = logits.argmax(-1)
        picks: list[torch.Tensor] = []
        for row, member in enumerate(members):
            assert member.picker is not None
            pick = likeliest[row : row + 1]
            if not member.picker.is_plain:
                try:
                    pick = member.picker.pick(logits[row : row + 1])
                except Exception as error:  # noqa: BLE001 - as above
                    self.fail([member], error)
            picks.append(pick)
        chosen = torch.cat(picks) if len(picks) > 1 else picks[0]
        tokens = chosen.tolist()  # where the device is waited for, once a step
        self._send(
            [
                (member, member.take(token))
                for member, token in zip(members, tokens, strict=True)
                if not member.is_over
            ]
        )
        return [row for row, member in enumerate(members) if not member.is_over]

    def _fail_step(self, error: Exception) -> None:
        failed, self._answering, self._rows = self._answering, [], None
        self.fail(failed, error)

    def _keep(self, going: Sequence[int]) -> None:
        """Let go of everyone else who is being answered."""
        self._rows = self._rows.only(going) if self._rows is not None and going else None
        self._answering = [self._answering[row] for row in going]


def _told(error: BaseException, name: str) -> Exception:
    """The error for one of the requests, with its cause."""
    told = generation_error(error, name)
    if told is error:
        return copy.copy(told)
    told.__cause__ = error
    return told
