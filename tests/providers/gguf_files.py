"""Small GGUF files, made for a test: a model, LoRA adapters, a projector, another chat template.

Names of keys and tensors as in llama.cpp's convert_lora_to_gguf.py and convert_hf_to_gguf.py (2026-10).
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import gguf
import numpy as np

WIDTH = 576  # of the embedded model's embeddings
LAYERS = 30
RANK = 8
IMAGE_SIDE = 28  # pixels
IMAGE_TOKENS = 4  # patches of 14 by 14 pixels
CHAT_TEMPLATE = b"tokenizer.chat_template"
ALIGNMENT = 32


def write_model(path: Path, *, vocabulary: int = 320, width: int = 64, layers: int = 2) -> Path:
    """A Llama of random weights, packed with 4 bits a number; a real one's vocabulary takes long to read."""
    random, heads, wide = np.random.default_rng(0), 2, 2 * width
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_vocab_size(vocabulary)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(wide)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_rope_dimension_count(width // heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list([f"{number}" for number in range(vocabulary)])
    writer.add_token_merges(["1 2"])
    writer.add_eos_token_id(0)
    shapes: dict[str, tuple[int, ...]] = {"token_embd": (vocabulary, width), "output_norm": (width,)}
    for block in (f"blk.{layer}" for layer in range(layers)):
        shapes |= {f"{block}.attn_{part}": (width, width) for part in ("q", "k", "v", "output")}
        shapes |= {f"{block}.ffn_{part}": (wide, width) for part in ("gate", "up")}
        shapes |= {f"{block}.ffn_down": (width, wide)}
        shapes |= {f"{block}.{norm}_norm": (width,) for norm in ("attn", "ffn")}
    for name, shape in shapes.items():
        weights, packed = _normal(random, *shape), gguf.GGMLQuantizationType.Q4_1
        if len(shape) == 1:  # a norm stays as it is
            writer.add_tensor(f"{name}.weight", weights)
        else:
            writer.add_tensor(f"{name}.weight", gguf.quants.quantize(weights, packed), raw_dtype=packed)
    _finish(writer)
    return path


def write_adapter(path: Path, *, strength: float, width: int = WIDTH, architecture: str = "llama") -> Path:
    """A LoRA adapter of random weights on every layer's attention output; of no effect at strength 0."""
    random = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(RANK))
    for layer in range(LAYERS):
        name = f"blk.{layer}.attn_output.weight"
        writer.add_tensor(f"{name}.lora_a", _normal(random, RANK, width) / 24)
        writer.add_tensor(f"{name}.lora_b", _normal(random, width, RANK) * np.float32(strength))
    _finish(writer)
    return path


def write_projector(path: Path, *, width: int = WIDTH) -> Path:
    """A vision encoder of one tiny layer with random weights, and its projection to a model's width."""
    random, inner, wide = np.random.default_rng(0), 32, 64
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "mlp")
    writer.add_bool("clip.use_gelu", True)
    sizes = {"image_size": IMAGE_SIDE, "patch_size": 14, "embedding_length": inner, "block_count": 1}
    sizes |= {"feed_forward_length": wide, "projection_dim": width, "attention.head_count": 2}
    for name, size in sizes.items():
        writer.add_uint32(f"clip.vision.{name}", size)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-5)
    writer.add_array("clip.vision.image_mean", [0.5] * 3)
    writer.add_array("clip.vision.image_std", [0.5] * 3)
    shapes: dict[str, tuple[int, ...]] = {
        "v.patch_embd.weight": (inner, 3, 14, 14),
        "v.position_embd.weight": (IMAGE_TOKENS + 1, inner),
        "v.class_embd": (inner,),
    }
    linear = {f"v.blk.0.attn_{part}": (inner, inner) for part in ("q", "k", "v", "out")}
    linear |= {"v.blk.0.ffn_up": (wide, inner), "v.blk.0.ffn_down": (inner, wide)}
    linear |= {"mm.0": (width, inner), "mm.2": (width, width)}
    for name, shape in linear.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for norm in ("v.pre_ln", "v.post_ln", "v.blk.0.ln1", "v.blk.0.ln2"):
        shapes |= {f"{norm}.weight": (inner,), f"{norm}.bias": (inner,)}
    for name, tensor_shape in shapes.items():
        strength = 0.02 if name.startswith("mm.2") else 0.3
        writer.add_tensor(name, _normal(random, *tensor_shape) * np.float32(strength))
    _finish(writer)
    return path


def copy_with_template(source: Path, target: Path, template: str) -> Path:
    """A copy of a model with another chat template, which a Jinja comment pads to the file's alignment."""
    content = source.read_bytes()
    at = content.index(CHAT_TEMPLATE) + len(CHAT_TEMPLATE) + 4  # the type of the value is 4 bytes
    (length,) = struct.unpack_from("<Q", content, at)
    text = template.encode()
    padding = (length - len(text) - 4) % ALIGNMENT
    text += b"{#" + b" " * padding + b"#}"
    target.write_bytes(content[:at] + struct.pack("<Q", len(text)) + text + content[at + 8 + length :])
    return target


def png(*colour: int) -> bytes:
    """A picture of one colour, red, green and blue, as large as the projector takes it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(colour) * IMAGE_SIDE for _ in range(IMAGE_SIDE))
    header = struct.pack(">IIBBBBB", IMAGE_SIDE, IMAGE_SIDE, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _normal(random: np.random.Generator, *shape: int) -> Any:
    return random.normal(size=shape).astype(np.float32)


def _finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
