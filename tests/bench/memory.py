"""``python -m tests.bench.memory``: how much memory loading takes, beside what the weights take.

Each case is loaded by a process of its own, in which torch and the engine are warm: growth of its largest resident size
(VmHWM of Linux, set back before the load) over the bytes of the weights. The goal is 1.15 at most.
"""

from __future__ import annotations

import argparse
import importlib
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.bench import resident

GOAL = 1.15
FILE = "model.safetensors"

Stored = Callable[[str, tuple[int, ...]], dict[str, Tensor]]  # what a file holds for a tensor of this name and shape


@dataclass(frozen=True)
class Case:
    """A model of about 75 million parameters. ``parts``: files; ``gguf``: the quantisation of a GGUF file instead."""

    title: str
    values: dict[str, Any]
    dtype: str = "float32"
    stored: Stored | None = None  # None: bfloat16
    parts: int = 1
    gguf: str | None = None


def _bfloat16(name: str, shape: tuple[int, ...]) -> dict[str, Tensor]:
    return {name: torch.full(shape, 0.01, dtype=torch.bfloat16)}


def _fp8(name: str, shape: tuple[int, ...]) -> dict[str, Tensor]:
    """Matrices of layers in blocks of 128 x 128."""
    if not name.endswith("_proj.weight"):
        return _bfloat16(name, shape)
    grid = (-(-shape[0] // 128), -(-shape[1] // 128))
    return {name: torch.ones(shape).to(torch.float8_e4m3fn), f"{name}_scale_inv": torch.ones(grid)}


def _mxfp4(name: str, shape: tuple[int, ...]) -> dict[str, Tensor]:
    if not re.search(r"experts\.\w+_proj$", name):
        return _bfloat16(name, shape)
    experts, d_in, d_out = shape
    blocks = torch.full((experts, d_out, d_in // 32, 16), 0x21, dtype=torch.uint8)
    return {f"{name}_blocks": blocks, f"{name}_scales": torch.full(blocks.shape[:3], 120, dtype=torch.uint8)}


LLAMA: dict[str, Any] = {"model_type": "llama", "vocab_size": 16_000, "hidden_size": 1024, "intermediate_size": 2816}
LLAMA |= {"num_hidden_layers": 4, "num_attention_heads": 16, "num_key_value_heads": 4, "rms_norm_eps": 1e-6}
LLAMA |= {"bos_token_id": 1, "eos_token_id": 2}
GPT2: dict[str, Any] = {"model_type": "gpt2", "vocab_size": 16_000, "n_embd": 1024, "n_layer": 5, "n_head": 16}
MIXTRAL = LLAMA | {"model_type": "mixtral", "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 5}
MIXTRAL |= {"num_local_experts": 8, "num_experts_per_tok": 2}
OSS = LLAMA | {"model_type": "gpt_oss", "hidden_size": 512, "intermediate_size": 512, "num_hidden_layers": 5}
OSS |= {"num_local_experts": 16, "num_experts_per_tok": 2, "head_dim": 32}
OSS_MXFP4 = OSS | {"quantization_config": {"quant_method": "mxfp4"}}
NEOX: dict[str, Any] = LLAMA | {"model_type": "gpt_neox", "intermediate_size": 4096}
DEEPSEEK = LLAMA | {
    "model_type": "deepseek_v3",
    "num_key_value_heads": 16,
    "n_routed_experts": 8,
    "n_shared_experts": 1,
}
DEEPSEEK |= {"num_experts_per_tok": 2, "moe_intermediate_size": 512, "first_k_dense_replace": 1}
DEEPSEEK |= {"n_shared_experts": 1, "n_group": 2, "topk_group": 1}
DEEPSEEK |= {"kv_lora_rank": 256, "q_lora_rank": 384, "qk_nope_head_dim": 64, "qk_rope_head_dim": 32}
DEEPSEEK |= {"v_head_dim": 64, "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}

CASES = (
    Case("llama, bfloat16", LLAMA),
    Case("llama, bfloat16, kept so", LLAMA, dtype="bfloat16"),
    Case("llama, bfloat16 in 4 files", LLAMA, parts=4),
    Case("llama, GGUF Q8_0", LLAMA, gguf="Q8_0"),
    Case("llama, GGUF Q4_0, to bfloat16", LLAMA, gguf="Q4_0", dtype="bfloat16"),
    Case("gpt2, transposed", GPT2),
    Case("gpt2, transposed, kept so", GPT2, dtype="bfloat16"),
    Case("gpt_neox, queries, keys and values in one", NEOX),
    Case("mixtral, a tensor for each expert", MIXTRAL),
    Case("mixtral, GGUF Q8_0, stacked experts", MIXTRAL, gguf="Q8_0"),
    Case("gpt_oss, stacked and transposed experts", OSS),
    Case("gpt_oss, MXFP4 experts", OSS_MXFP4, stored=_mxfp4),
    Case("gpt_oss, MXFP4 experts, to bfloat16", OSS_MXFP4, stored=_mxfp4, dtype="bfloat16"),
    Case("deepseek_v3, FP8", DEEPSEEK, stored=_fp8),
)


def make(case: Case, folder: Path) -> Path:
    """Write the case's model; gives what is to be loaded."""
    from engine.families import family_of, read_config, slots_of

    (folder / "config.json").write_text(json.dumps(case.values))
    slots = slots_of(family_of(case.values), read_config(case.values), lambda name: False)
    shapes = {slot.name: slot.shape for slot in slots}
    names, index = list(shapes), {}
    for part in range(case.parts):
        tensors: dict[str, Tensor] = {}
        for name in names[part :: case.parts]:
            tensors |= (case.stored or _bfloat16)(name, shapes[name])
        file = FILE if case.parts == 1 else f"model-{part + 1:05}-of-{case.parts:05}.safetensors"
        save_file(tensors, folder / file, {"format": "pt"})
        index |= dict.fromkeys(tensors, file)
    if case.parts > 1:
        (folder / f"{FILE}.index.json").write_text(json.dumps({"weight_map": index}))
    return folder if case.gguf is None else _gguf(folder, case.gguf)


def _gguf(folder: Path, quantisation: str) -> Path:
    from tests.engine.gguf_files import write_gguf

    return write_gguf(folder, folder / "model.gguf", quantisation=quantisation)


def measure(case: Case, folder: Path) -> float:
    """Memory that loading the case takes, over the bytes of its weights."""
    path = make(case, folder)
    command = [sys.executable, "-m", "tests.bench.memory", "--load", str(path), "--type", case.dtype]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    figures = json.loads(run.stdout)
    return figures["grown"] / figures["weights"]


def _load(path: str, dtype: str) -> dict[str, int]:
    """In the process that loads: growth of the largest resident size, and what the weights take."""
    import engine

    _warm_up(path)
    resident.forget()
    before = resident.peak()
    loaded = engine.load(path, device="cpu", dtype=dtype)
    return {"grown": resident.peak() - before, "weights": loaded.weight_bytes}


def _warm_up(path: str) -> None:
    """Import all that loading imports."""
    from engine.checkpoint.opened import open_checkpoint

    importlib.import_module("engine.model.decoder")
    with open_checkpoint(Path(path)) as checkpoint:
        checkpoint.read_tokenizer()


def _chosen(words: str) -> Iterator[Case]:
    return (case for case in CASES if words in case.title)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line for each case; 1 where one is above the goal."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.add_argument("--only", default="", help="cases whose title has these words")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    parser.add_argument("--type", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.load is not None:
        print(json.dumps(_load(given.load, given.type)))
        return 0
    worst = 0.0
    for case in _chosen(given.only):
        with tempfile.TemporaryDirectory() as folder:
            ratio = measure(case, Path(folder))
        worst = max(worst, ratio)
        print(f"{ratio:5.2f}  {case.title}, as {case.dtype}{'  ABOVE THE GOAL' if ratio > GOAL else ''}", flush=True)
    return int(worst > GOAL)


if __name__ == "__main__":
    sys.exit(main())
