"""Checkpoints of transformers for tests: the real embedded model converted, and a tiny one trained here.

Both are made once, in the farm's cache folder. Raise the version when you change how one is made.
"""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from farm_notebook.config import load_config

CONVERTED_VERSION = 1
TINY_VERSION = 4
STEPS, RATE = 400, 5e-3  # seconds of training, after which it knows everything by heart

LANDS = (("Japan", "Tokyo"), ("Germany", "Berlin"), ("Russia", "Moscow"), ("Egypt", "Cairo"))
COUNTED = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
NUMBERS = [*COUNTED.split(), "seventeen", "eighteen", "nineteen", "twenty"]
WEATHER_CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>'
COUNT, TICK, THINK = "Count.", "Tick.", "Think."
# Qwen's dialect, in which most open models are told of tools and thinking.
TEMPLATE = """\
{%- if tools %}<|im_start|>system
{% for tool in tools %}{{ tool.function.name }} {% endfor %}<|im_end|>
{% endif %}
{%- for message in messages %}
{%- if message.role not in ['system', 'user', 'assistant', 'tool'] %}
{{- raise_exception('no such role') }}
{%- endif %}
{{- '<|im_start|>' + message.role + '\\n' + message.content }}
{%- for call in message.tool_calls or [] %}<tool_call>
{{ {'name': call.function.name, 'arguments': call.function.arguments} | tojson }}
</tool_call>{% endfor %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and not enable_thinking %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}
{%- endif %}"""


@pytest.fixture(scope="session")
def converted_model(embedded_file: Path) -> Path:
    """The embedded 135M model as a folder of safetensors in float32, with tokenizer and chat template."""

    def convert(folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        place: dict[str, Any] = {"gguf_file": embedded_file.name, "local_files_only": True}
        module = AutoModelForCausalLM.from_pretrained(embedded_file.parent, **place, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(embedded_file.parent, **place)
        config = {
            key: value for key, value in module.config.to_dict().items() if key != "quantization_config"
        }
        plain = type(module)(
            type(module.config)(**config)
        )  # what came out of a GGUF file refuses to be saved
        plain.load_state_dict(module.state_dict())
        plain.generation_config = module.generation_config
        plain.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    return _once(f"{embedded_file.stem}-f32-v{CONVERTED_VERSION}", convert)


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    """A Llama of two layers, which knows the capitals of ``LANDS`` by heart.

    It counts when told to ``COUNT``, ticks for ever when told to ``TICK``, thinks first when told to
    ``THINK``, and calls a tool for the weather in Paris.
    """
    return _once(f"tiny-v{TINY_VERSION}", _train)


def loaded_from(
    place: Path, *, halt: Any = None, report: Callable[[int, int], None] | None = None, **options: Any
) -> Any:
    """A checkpoint in memory, with no provider around it.

    Args:
        place: Of a folder, or of a GGUF file.
        halt: Asked for by nobody, where there is none.
        report: Is told how far it is.
        options: Of ``load``; it goes to the processor where they do not say.
    """
    from farm_notebook.providers.huggingface.checkpoint import read_checkpoint
    from farm_notebook.providers.huggingface.loading import load
    from farm_notebook.providers.huggingface.source import locate
    from farm_notebook.providers.huggingface.work import Halt

    source, settings = locate(str(place)), load_config().huggingface
    assert source.folder is not None
    checkpoint = read_checkpoint(source, source.folder, settings)
    if "device_map" not in options:
        options = {"device": "cpu"} | options
    return load(source, checkpoint, settings, halt or Halt(), report or (lambda done, total: None), **options)


@contextmanager
def one_thread() -> Iterator[None]:
    """Two would wait for each other longer than they work on small models; on a busy machine for minutes."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _once(name: str, make: Callable[[Path], None]) -> Path:
    """A folder in the cache, made by the first who asks, on one thread, and never seen half made."""
    target = load_config().cache_dir / "test-checkpoints" / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_suffix(".lock")):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=target.parent) as folder:
                with one_thread():
                    make(Path(folder))
                shutil.copytree(folder, f"{folder}-whole")
            Path(f"{folder}-whole").rename(target)
    return target


def _train(folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=64,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=65536,
                bos_token_id=None,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
                tie_word_embeddings=True,
            )
        )
        optimizer = torch.optim.AdamW(module.parameters(), lr=RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=STEPS)
        dice = random.Random(0)
        for _ in range(STEPS):
            prompts, answers = zip(*_lessons(tokenizer, dice), strict=True)
            batch = tokenizer(prompts, answers, padding=True, return_token_type_ids=True, return_tensors="pt")
            # Answers only: of prompts it would learn the start of a thought that is switched off.
            labels = batch["input_ids"].masked_fill(batch.pop("token_type_ids") == 0, -100)
            module(**batch, labels=labels).loss.backward()
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    module.eval()
    module.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([" ".join(words) for words in _dialogues(random.Random(0))], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|pad|>")
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def _dialogues(dice: random.Random) -> list[tuple[str, str]]:
    """What it learns, afresh each time: of numbers, one in eight is wrong, so that sampling has a choice."""
    numbers = [dice.choice(NUMBERS) if dice.random() < 1 / 8 else number for number in NUMBERS]
    return [
        *((f"What is the capital of {land}?", f"The capital of {land} is {city}.") for land, city in LANDS),
        (COUNT, " ".join(numbers)),
        (TICK, " ".join(["tick tock"] * 12)),
        (THINK, "<think>\nLet me see.\n</think>\n\nYes, 日本語 😀."),
    ]


def _lessons(tokenizer: Any, dice: random.Random) -> list[tuple[str, str]]:
    """Prompts, and what is to be answered."""

    def lesson(question: str, answer: str, **options: Any) -> tuple[str, str]:
        turns = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False, **options)
        return prompt, answer + "<|im_end|>" * (question != TICK)

    tool = {"type": "function", "function": {"name": "get_weather", "description": "", "parameters": {}}}
    return [
        *(lesson(*dialogue) for dialogue in _dialogues(dice)),
        *((question, f" {answer}") for question, answer in _dialogues(dice) if question in (COUNT, TICK)),
        lesson(THINK, "Yes.", enable_thinking=False),
        lesson("What is the weather in Paris?", WEATHER_CALL, tools=[tool]),
    ]
