"""Foreign errors of torch in our terms."""

from __future__ import annotations

from farm_notebook.errors import FarmError, OutOfMemoryError, ProviderError

__all__ = ["first_line", "generation_error", "is_out_of_memory"]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was what was missing; torch has an error of its own for accelerators only."""
    import torch

    words = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and ("can't allocate memory" in words or "not enough memory" in words or "out of memory" in words)
    )


def first_line(error: BaseException) -> str:
    """What a foreign error says, without what it explains over many lines; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), "").rstrip(".") or type(error).__name__


def generation_error(error: BaseException, name: str) -> FarmError:
    """The typed error for what broke off an answer.

    Args:
        error: What torch or transformers raised.
        name: Of the model.
    """
    if isinstance(error, FarmError):
        return error
    if is_out_of_memory(error):
        return OutOfMemoryError(
            f"{name}: no memory was left for this answer. Ask for a shorter one, shorten the prompt, or "
            "unload another model.",
            provider="huggingface",
        )
    return ProviderError(f"{name} failed: {type(error).__name__}: {error}", provider="huggingface")
