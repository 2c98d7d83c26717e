"""From a GGUF file of ``write_gguf`` back to the weights that transformers would need to compute with the same numbers.

Every element of the folder's tensors is given a number, the numbers go through the writer's own rearrangement, and so
each stored value finds its way home, whatever the quantisation. That the rearrangement is llama.cpp's is for
``test_writer.py`` to check, by formulas.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

from tests.engine.gguf_files.architectures import table_of
from tests.engine.gguf_files.model_folder import State, read_config, read_state
from tests.engine.gguf_files.writer import file_tensors, norm_offset


def restored(folder: Path, path: Path) -> State:
    """The folder's tensors, by its names, with the (dequantised) values of the file at ``path`` or of its parts.

    A tensor that the file does not hold whole (a tied head, layers of multi-token prediction) is left out. Raises
    ValueError for a folder with packed experts.
    """
    config, state, stored = read_config(folder), read_state(folder), read_values(path)
    if any(values.dtype == np.uint8 for values in state.values()):
        raise ValueError("Weights cannot be restored into a folder whose experts are packed.")
    table = table_of(config["model_type"])
    numbered, total = _numbered(state)
    forms = {"old_experts": any(".ffn_gate.0." in n for n in stored), "old_kv_b": any("attn_kv_b" in n for n in stored)}
    home = np.full(total, np.nan, dtype=np.float32)
    for name, numbers in file_tensors(table, config, numbered, **forms).items():
        home[numbers.astype(np.int64).ravel()] = stored[name].ravel() - np.float32(norm_offset(table, name))
    found = {name: home[numbers.astype(np.int64)] for name, numbers in numbered.items()}
    return {name: values for name, values in found.items() if not np.isnan(values).any()}


def restored_folder(folder: Path, path: Path, target: Path) -> Path:
    """A copy of ``folder`` whose weights are those of the GGUF file, for ``from_pretrained``; not a multimodal one."""
    if "text_config" in json.loads((folder / "config.json").read_text()):
        raise ValueError("The text model of a multimodal folder cannot be put back into it.")
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors", "*.safetensors.index.json"))
    values = read_state(folder) | restored(folder, path)
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in values.items()}
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return target


def read_values(path: Path) -> State:
    """Every tensor of a file and of the parts beside it, dequantised to float32, in torch order."""
    found: State = {}
    for part in _parts(path):
        for tensor in gguf.GGUFReader(part).tensors:
            shape = tuple(int(size) for size in reversed(tensor.shape))
            found[tensor.name] = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape).copy()
    return found


def _parts(path: Path) -> list[Path]:
    stem, separator, count = path.stem.partition("-00001-of-")
    return sorted(path.parent.glob(f"{stem}-*-of-{count}.gguf")) if separator else [path]


def _numbered(state: State) -> tuple[State, int]:
    start, found = 0, {}
    for name, values in state.items():
        found[name] = np.arange(start, start + values.size, dtype=np.float64).reshape(values.shape)
        start += values.size
    return found, start
