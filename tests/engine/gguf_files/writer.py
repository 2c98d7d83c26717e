"""From a model folder to a GGUF file.

Facts: ``prepare_tensors`` in ``conversion/base.py`` of llama.cpp (which tensors stay F32), ``gguf_writer.py`` of
the ``gguf`` package (split files), ``gguf-split.cpp`` (its keys).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Kind
from gguf import GGUFWriter, LlamaFileType

from tests.engine.gguf_files.architectures import table_of
from tests.engine.gguf_files.keys import Metadata
from tests.engine.gguf_files.model_folder import Config, State, read_config, read_state
from tests.engine.gguf_files.raw_tensor import RawTensor
from tests.engine.gguf_files.vocabulary import tokenizer

ALWAYS_F32 = ("_norm.weight", "ffn_gate_inp.weight", "ffn_gate_inp_shexp.weight", "position_embd.weight")
FLOAT_KEYS = ("epsilon", "freq_base", "freq_base_swa", "factor", "softcapping", "scale", "multiplier", "clamp_kqv")


def write_gguf(
    folder: Path,
    path: Path,
    *,
    quantisation: str = "F32",
    expert_quantisation: str | None = None,
    parts: int = 1,
    old_experts: bool = False,
    old_kv_b: bool = False,
    metadata: Mapping[str, Any] | None = None,
    raw: Mapping[str, RawTensor] | None = None,
) -> Path:
    """Write the model in ``folder`` as llama.cpp's converter does; gives the path (of the first part).

    ``quantisation``: F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 or MXFP4, for matrices whose rows are whole blocks;
    norms, vectors, routers, positions and other rows stay F32. ``expert_quantisation``: the same for stacked experts
    (gpt-oss is published with MXFP4 experts). ``parts``: files of about equally many tensors, named
    ``stem-00001-of-0000N.gguf``. ``old_experts``: one tensor per expert, as old Mixtral files. ``old_kv_b``: deepseek2
    with ``attn_kv_b`` in one piece. ``metadata`` adds or replaces keys by full name (None leaves one out), ``raw``
    replaces tensors by name, for types that cannot be quantised here.
    Raises ValueError for a model that the converter refuses too: a tensor without a name in the architecture.
    """
    config = read_config(folder)
    table = table_of(config["model_type"])
    moved = file_tensors(table, config, read_state(folder), old_experts=old_experts, old_kv_b=old_kv_b)
    tensors: dict[str, Any] = {name: _with_offset(table, name, values) for name, values in moved.items()}
    tensors |= _extra(table, config)
    replaced: dict[str, Any] = dict(raw or {})
    _check_replacements(tensors, replaced)
    writer = GGUFWriter(path, table.ARCHITECTURE, split_max_tensors=math.ceil(len(tensors) / parts) if parts > 1 else 0)
    for key, value in (_metadata(table, config, folder, quantisation, old_kv_b) | dict(metadata or {})).items():
        _add(writer, key, value)
    for name, values in tensors.items():
        wanted = expert_quantisation if expert_quantisation and "_exps." in name else quantisation
        _add_tensor(writer, name, replaced.get(name, values), Kind[wanted])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return part_paths(path, parts)[0]


def lost(folder: Path) -> list[str]:
    """Fields of the folder's config whose value its GGUF file does not hold and a reader would imply otherwise."""
    config = read_config(folder)
    return table_of(config["model_type"]).lost(config)


def part_paths(path: Path, parts: int) -> list[Path]:
    """The files that ``write_gguf`` with ``parts`` writes."""
    if parts == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{number:05d}-of-{parts:05d}.gguf") for number in range(1, parts + 1)]


def file_tensors(
    table: ModuleType, config: Config, state: State, *, old_experts: bool = False, old_kv_b: bool = False
) -> State:
    """The tensors in the file's form, by the file's names, norms still without their offset."""
    if old_kv_b and not hasattr(table, "old_form"):
        raise ValueError(f"The architecture {table.ARCHITECTURE} never had an attn_kv_b.")
    change = table.old_tensors if old_kv_b else table.tensors
    names = gguf.get_tensor_name_map(_number(table), _layers(config))
    found = {_file_name(names, table, name): values for name, values in change(config, state).items()}
    return _unstacked(table, found) if old_experts else found


def norm_offset(table: ModuleType, name: str) -> float:
    return getattr(table, "NORM_OFFSET", 0.0) if name.endswith("norm.weight") else 0.0


def _number(table: ModuleType) -> gguf.MODEL_ARCH:
    return next(number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == table.ARCHITECTURE)


def _layers(config: Config) -> int:
    return config.get("num_hidden_layers") or config["n_layer"]


def _file_name(names: gguf.TensorNameMap, table: ModuleType, name: str) -> str:
    found = names.get_name(name, try_suffixes=(".weight", ".bias"))
    if found is None:
        raise ValueError(f"The architecture {table.ARCHITECTURE} has no name for the tensor {name}.")
    return found


def _unstacked(table: ModuleType, tensors: State) -> State:
    if not hasattr(table, "OLD_EXPERTS"):
        raise ValueError(f"The architecture {table.ARCHITECTURE} never had one tensor per expert.")
    found: State = {}
    for name, values in tensors.items():
        if name.endswith("_exps.weight"):
            base = name.removesuffix("_exps.weight")
            found |= {f"{base}.{expert}.weight": part for expert, part in enumerate(values)}
        else:
            found[name] = values
    return found


def _with_offset(table: ModuleType, name: str, values: np.ndarray | RawTensor) -> np.ndarray | RawTensor:
    if isinstance(values, RawTensor) or not norm_offset(table, name):
        return values
    return values + np.float32(norm_offset(table, name))


def _extra(table: ModuleType, config: Config) -> dict[str, Any]:
    return table.extra(config) if hasattr(table, "extra") else {}


def _check_replacements(tensors: dict[str, Any], replaced: Mapping[str, RawTensor]) -> None:
    for name, tensor in replaced.items():
        if name not in tensors or tensors[name].shape != tensor.shape:
            raise ValueError(f"The file has no tensor {name} of shape {tensor.shape} to replace.")


def _metadata(table: ModuleType, config: Config, folder: Path, quantisation: str, old_kv_b: bool) -> Metadata:
    keys = table.old_form(config) if old_kv_b else table.metadata(config)
    general = {
        "general.type": "model",
        "general.name": folder.name,
        "general.file_type": int(_file_type(quantisation)),
        "general.quantization_version": gguf.GGML_QUANT_VERSION,
    }
    return general | {f"{table.ARCHITECTURE}.{key}": value for key, value in keys.items()} | tokenizer(config)


def _file_type(quantisation: str) -> LlamaFileType:
    names = {"F32": "ALL_F32", "MXFP4": "MOSTLY_MXFP4_MOE"}
    return LlamaFileType[names.get(quantisation, f"MOSTLY_{quantisation}")]


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif isinstance(value, float) or key.endswith(FLOAT_KEYS):
        writer.add_float32(key, float(value))
    else:
        writer.add_uint32(key, value)


def _add_tensor(writer: GGUFWriter, name: str, values: np.ndarray | RawTensor, kind: Kind) -> None:
    if isinstance(values, RawTensor):
        writer.add_tensor(name, values.data, raw_dtype=values.kind)
        return
    kind = stored_kind(name, values.shape, kind)
    if kind in (Kind.F32, Kind.F16):
        writer.add_tensor(name, np.ascontiguousarray(values, dtype=np.float32 if kind == Kind.F32 else np.float16))
    else:
        data = gguf.quants.quantize(np.ascontiguousarray(values, dtype=np.float32), kind)
        writer.add_tensor(name, data, raw_dtype=kind)


def stored_kind(name: str, shape: tuple[int, ...], wanted: Kind) -> Kind:
    """F32 for what the converter never quantises and for rows that are no whole number of blocks."""
    per_block, _ = gguf.GGML_QUANT_SIZES[wanted]
    small = len(shape) == 1 or not name.endswith(".weight") or name.endswith(ALWAYS_F32)
    return Kind.F32 if small or shape[-1] % per_block else wanted
