"""Which token comes next, for one sequence: transformers' own processors, and a random source of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel

__all__ = ["Picker"]


class Picker:
    """Picks as ``module.generate`` does with the same configuration, seed and sequence.

    Args:
        module: Whose checkpoint's defaults and processors count.
        config: Sampling; what it leaves out is the checkpoint's.
        prompt: What the sequence begins with.
        seed: For repeatable sampling; ``None`` takes one at random.
        processors: Further changes to the scores, which come first.
    """

    def __init__(
        self,
        module: PreTrainedModel,
        config: GenerationConfig,
        prompt: Sequence[int],
        seed: int | None = None,
        processors: Sequence[LogitsProcessor] = (),
    ) -> None:
        import torch
        from transformers import LogitsProcessorList

        # There is no public way to get at a configuration's processors; this is generate's own, and what
        # transformers' continuous batching calls too.
        generating: Any = module
        config, _ = generating._prepare_generation_config(config)
        generating._prepare_special_tokens(config, kwargs_has_attention_mask=True, device=module.device)
        self._processors: LogitsProcessorList = generating._get_logits_processor(
            config,
            input_ids_seq_length=len(prompt),
            logits_processor=LogitsProcessorList(processors),
            device=str(module.device),
        )
        ends = config.eos_token_id
        self.ends = frozenset((ends,) if isinstance(ends, int) else ends or ())
        """Tokens that end the sequence."""
        self._generator: torch.Generator | None = None
        if config.do_sample:
            self._generator = torch.Generator(module.device)
            self._generator.seed() if seed is None else self._generator.manual_seed(seed)
        self._sequence: Any = torch.tensor([list(prompt)], device=module.device)

    @property
    def is_plain(self) -> bool:
        """Whether the next token is just the likeliest."""
        return self._generator is None and not self._processors

    def pick(self, logits: torch.Tensor) -> torch.Tensor:
        """The next token of a sequence with these logits, ``[1, vocabulary]``; ``[1]``, on their device."""
        import torch

        scores: torch.Tensor = self._processors(self._sequence, logits.float())
        if self._generator is None:
            return scores.argmax(-1)
        return torch.multinomial(scores.softmax(-1), 1, generator=self._generator)[0]

    def add(self, token: int) -> None:
        """Let a token be the next of the sequence."""
        import torch

        if self._processors:
            self._sequence = torch.cat([self._sequence, self._sequence.new_tensor([[token]])], dim=-1)
