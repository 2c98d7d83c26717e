"""The inventory of every family, from safetensors and GGUF: roles, symbols, sums; and files that are not sound."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

import pytest
import torch

import engine
from engine.checkpoint import inventory as inventory_file
from engine.checkpoint.entries import natural
from engine.checkpoint.folding import folded, ranges
from engine.checkpoint.inventory import Inventory, inventory
from engine.config import LatentAttentionSpec, MLPSpec, ModelConfig
from engine.errors import CheckpointError, ConfigError, EngineError, SourceError
from engine.model.decoder import Decoder
from tests.engine.families.as_gguf import gguf_of
from tests.engine.families.oracle import Oracle, Oracles
from tests.engine.families.variants import ROUTED, VARIANTS
from tests.engine.gguf_files import part_paths, write_gguf
from tests.engine.tiny import tiny_llama

# what a name in a file is for, written down a second time: the first pattern that fits
SAFETENSORS_ROLES = {
    r"embed_tokens|wte|word_embeddings|embed_in": "embedding",
    r"wpe": "positions",
    r"lm_head|embed_out": "unembedding",
    r"(^|\.)(model|language_model)\.norm\.|ln_f|final_layer_norm": "final_norm",
    r"q_a_proj": "W_Q_down",
    r"kv_a_proj": "W_KV_down",
    r"q_b_proj|self_attn\.q_proj": "W_Q",
    r"kv_b_proj": "W_KV_up",
    r"q_a_layernorm": "q_latent_norm",
    r"kv_a_layernorm": "kv_latent_norm",
    r"qkv_proj|c_attn|query_key_value": "W_QKV",
    r"k_proj": "W_K",
    r"v_proj": "W_V",
    r"q_norm": "q_norm",
    r"k_norm": "k_norm",
    r"sinks": "sinks",
    r"o_proj|attn\.c_proj|attention\.dense\.|self_attention\.dense\.": "W_O",
    r"e_score_correction_bias": "choice_bias",
    r"shared_expert_gate": "shared gate",
    r"shared\w*\.gate_proj": "shared W_gate",
    r"shared\w*\.up_proj": "shared W_up",
    r"shared\w*\.(down_proj|output_linear)": "shared W_down",
    r"shared_mlp\.input_linear": "shared W_gate_up",
    r"mlp\.gate\.|block_sparse_moe\.(gate|router)|feed_forward\.router|mlp\.router": "router",
    r"gate_up_proj|input_linear": "W_gate_up",
    r"gate_proj|\.w1\.": "W_gate",
    r"up_proj|\.w3\.|c_fc|dense_h_to_4h": "W_up",
    r"down_proj|\.w2\.|mlp\.c_proj|dense_4h_to_h|output_linear": "W_down",
}
GGUF_ROLES = {
    r"token_embd": "embedding",
    r"position_embd": "positions",
    r"^output\.": "unembedding",
    r"^output_norm": "final_norm",
    r"^rope_f": "rope divisors",
    r"attn_q_a\.": "W_Q_down",
    r"attn_kv_a_mqa": "W_KV_down",
    r"attn_q_a_norm": "q_latent_norm",
    r"attn_kv_a_norm": "kv_latent_norm",
    r"attn_k_b": "W_K_up",
    r"attn_v_b": "W_V_up",
    r"attn_qkv": "W_QKV",
    r"attn_q(_b)?\.": "W_Q",
    r"attn_k\.": "W_K",
    r"attn_v\.": "W_V",
    r"attn_output\.": "W_O",
    r"attn_q_norm": "q_norm",
    r"attn_k_norm": "k_norm",
    r"sinks": "sinks",
    r"exp_probs_b": "choice_bias",
    r"ffn_gate_inp_shexp": "shared gate",
    r"ffn_gate_inp": "router",
    r"ffn_gate_shexp": "shared W_gate",
    r"ffn_up_shexp": "shared W_up",
    r"ffn_down_shexp": "shared W_down",
    r"ffn_gate": "W_gate",
    r"ffn_up": "W_up",
    r"ffn_down": "W_down",
}
FUSED = {"phi3": {r"ffn_up": "W_gate_up"}}  # its GGUF files call gate and up together "up"


@pytest.fixture(scope="module")
def oracles(tmp_path_factory: pytest.TempPathFactory) -> Oracles:
    return Oracles(tmp_path_factory.mktemp("inventory"))


@pytest.fixture(params=VARIANTS)
def oracle(request: pytest.FixtureRequest, oracles: Oracles) -> Oracle:
    return oracles[request.param]


def _expected(roles: dict[str, str], name: str) -> str:
    """By the table; "" for a layer's norms, which the families call by each other's names."""
    found = next((role for pattern, role in roles.items() if re.search(pattern, name)), "")
    if not found or found == "choice_bias" or not name.endswith("bias"):
        return found
    return found.replace("W_", "b_") if "W_" in found else f"{found} bias"


def _check_roles(found: Inventory, roles: dict[str, str]) -> None:
    checked = 0
    for entry in found.entries:
        expected = _expected(roles, entry.name)
        if expected:
            assert entry.role == expected, entry.name
            checked += 1
        else:
            assert re.fullmatch(r"norm[12](_post)?( bias)?", entry.role), entry.name
        number = re.search(r"(?:layers|h|blk)\.(\d+)\.", entry.name)
        assert entry.layer == (None if number is None else int(number[1]))
    assert checked > len(found.entries) // 2


def _sizes(config: ModelConfig, layer: int) -> dict[str, int]:
    """Sizes by symbol, of one layer."""
    spec, mlp = config.layers[layer].attention, config.layers[layer].mlp
    fields = ("n_heads", "n_kv_heads", "d_head", "d_nope", "d_rope", "d_value", "d_latent", "d_q_latent")
    sizes = {"d_model": config.d_model, "d_vocab": config.d_vocab, "n_ctx": config.n_ctx}
    sizes |= {field: getattr(spec, field) for field in fields if hasattr(spec, field)}
    if isinstance(mlp, MLPSpec):
        return sizes | {"d_mlp": mlp.d_mlp}
    shared = {} if mlp.shared is None else {"d_shared": mlp.shared.d_mlp}
    return sizes | shared | {"n_experts": mlp.n_experts, "d_expert": mlp.expert.d_mlp}


def _check_symbols(found: Inventory) -> None:
    """Every used tensor's shape is what its symbols come to."""
    assert found.config is not None
    for entry in found.entries:
        if entry.state in ("used", "tied"):
            sizes = _sizes(found.config, entry.layer or 0)
            values = tuple(eval(axis.replace("·", "*"), {}, sizes) for axis in entry.symbols)
            assert values == entry.shape, entry


def _language_model(oracle: Oracle) -> dict[str, torch.Tensor]:
    """Parameters of transformers' model, without a wrapper's eyes, and the routers' corrections, which are buffers."""
    named = dict(oracle.model.named_parameters())
    named |= {n: t for n, t in oracle.model.named_buffers() if n.endswith("e_score_correction_bias")}
    return {n: t for n, t in named.items() if not re.search(r"vision|multi_modal", n)}


def _idle(oracle: Oracle) -> int:
    """Parameters of experts that a token is not sent to."""
    config, routed = oracle.model.config.get_text_config(), 0
    for name, tensor in _language_model(oracle).items():
        if re.search(r"\.experts\.|block_sparse_moe\.(input|output)_linear", name):
            routed += tensor.numel()
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    count = next((n for name in names if (n := getattr(config, name, None))), 1)
    return routed * (count - config.num_experts_per_tok) // count if routed else 0


def test_safetensors_of_every_variant(oracle: Oracle) -> None:
    found = inventory(oracle.folder)
    assert (found.complaints, found.missing) == ((), ())
    theirs = _language_model(oracle)
    with torch.device("meta"):
        ours = Decoder(found.config)
    assert found.parameters == sum(tensor.numel() for tensor in theirs.values())
    assert found.parameters == sum(parameter.numel() for parameter in ours.parameters())
    assert found.active == found.parameters - _idle(oracle)
    assert (found.active < found.parameters) == (oracle.variant.id in ROUTED)
    assert found.parameters == sum(entry.parameters for entry in found.entries)
    assert found.size == sum(size for _, size in found.files) - _header(oracle.folder)
    assert {entry.state for entry in found.entries} <= {"used", "tied", "ignored"}
    _check_symbols(found)
    if oracle.variant.family not in ("gemma3", "llama4"):  # what sees has tensors of the same names
        _check_roles(found, SAFETENSORS_ROLES)


def _header(folder: Path) -> int:
    with (folder / "model.safetensors").open("rb") as file:
        return 8 + int.from_bytes(file.read(8), "little")


@pytest.mark.parametrize("oracle", [v.id for v in VARIANTS.values() if v.gguf], indirect=True)
def test_gguf_of_every_variant(oracle: Oracle, tmp_path: Path) -> None:
    plain, found = inventory(oracle.folder), inventory(gguf_of(oracle, tmp_path / "m.gguf"))
    assert (found.complaints, found.missing, found.stored_as) == ((), (), "GGUF F32")
    assert found.parameters == plain.parameters
    assert found.active == plain.active
    assert {part.name: part.parameters for part in found.components} == {
        part.name: part.parameters for part in plain.components
    }
    _check_symbols(found)
    _check_roles(found, GGUF_ROLES | FUSED.get(oracle.variant.family, {}))


@pytest.mark.parametrize("oracle", ["gemma2-default", "qwen2-default"], indirect=True)
def test_order_is_that_of_the_pass(oracle: Oracle) -> None:
    """By the order in which transformers' own modules are called."""
    called: list[str] = []
    handles = [
        module.register_forward_pre_hook(lambda *_, name=name: called.append(f"{name}.weight"))
        for name, module in oracle.model.named_modules()
    ]
    oracle.run(oracle.ids)
    for handle in handles:
        handle.remove()
    listed = [entry.name for entry in inventory(oracle.folder).entries if entry.name.endswith(".weight")]
    ours, theirs = [name for name in listed if name in called], [name for name in called if name in listed]
    assert ours == theirs
    assert len(ours) > 20


def test_layer_2_comes_before_layer_10(tmp_path: Path) -> None:
    tiny_llama(tmp_path, num_hidden_layers=11)
    found = inventory(tmp_path)
    layers = [entry.layer for entry in found.entries if entry.layer is not None]
    assert layers == sorted(layers)
    assert sorted(["a.10", "a.2", "b.1"], key=natural) == ["a.2", "a.10", "b.1"]
    before, alike, behind = folded(found.entries)
    assert (ranges(alike.layers), before.layers, behind.layers) == ("0-10", (), ())
    assert before.size + behind.size + 11 * alike.size == found.size


def test_the_engine_counts_alike(tmp_path: Path) -> None:
    tiny_llama(tmp_path / "m", shard_size="20KB", tie_word_embeddings=True)
    found, loaded = inventory(tmp_path / "m"), engine.load(tmp_path / "m", device="cpu")
    assert len(found.files) > 3
    assert found.parameters == loaded.parameters
    assert 4 * found.parameters == loaded.weight_bytes
    assert [entry.state for entry in found.entries].count("tied") == 1
    assert "unembedding" not in {part.name for part in found.components}


def test_the_real_model(smollm2_gguf: Path) -> None:
    found = inventory(smollm2_gguf)
    assert (found.parameters, found.active, found.complaints) == (134_515_008, 134_515_008, ())
    assert found.stored_as == "GGUF Q4_1"
    assert sum(size for _, size in found.files) == 98_362_432
    assert found.size < 98_362_432
    assert next(entry for entry in found.entries if entry.name == "blk.29.attn_q.weight").symbols == (
        "n_heads·d_head",
        "d_model",
    )


@pytest.mark.parametrize("oracle", ["mixtral-default", "deepseek_v2-default"], indirect=True)
@pytest.mark.parametrize("parts", [1, 3])
def test_split_and_old_gguf(oracle: Oracle, tmp_path: Path, parts: int) -> None:
    old = {"old_experts": True} if oracle.variant.family == "mixtral" else {"old_kv_b": True}
    write_gguf(oracle.folder, tmp_path / "m.gguf", parts=parts, **old)
    found = inventory(part_paths(tmp_path / "m.gguf", parts)[-1])
    assert (found.complaints, len(found.files)) == ((), parts)
    assert found.parameters == inventory(oracle.folder).parameters
    _check_symbols(found)
    if "old_experts" in old:
        assert max(entry.expert for entry in found.entries if entry.expert is not None) > 0
    else:
        assert "W_KV_up" in {entry.role for entry in found.entries}


# -- files made of a header alone ------------------------------------------------------------------------------------

BITS = {"F32": 32, "BF16": 16, "F8_E4M3": 8, "U8": 8, "I32": 32}
Tensors = dict[str, tuple[str, tuple[int, ...]]]


def _written(folder: Path, tensors: Tensors, config: dict[str, Any]) -> Path:
    """A model folder whose tensors are zeros."""
    header, end = {}, 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + prod(shape) * BITS[dtype] // 8
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(end))
    (folder / "config.json").write_text(json.dumps(config))
    return folder


LLAMA: dict[str, Any] = {"model_type": "llama", **VARIANTS["llama-default"].config}


def _llama(oracles: Oracles) -> Tensors:
    """The tensors of the tiny Llama."""
    return {entry.name: ("F32", entry.shape) for entry in inventory(oracles["llama-default"].folder).entries}


def test_fp8_has_scales_that_are_no_parameters(oracles: Oracles, tmp_path: Path) -> None:
    tensors: Tensors = {}
    for name, (dtype, shape) in _llama(oracles).items():
        tensors[name] = (dtype, shape) if "_proj" not in name else ("F8_E4M3", shape)
        if "_proj" in name:
            tensors[f"{name}_scale_inv"] = ("F32", tuple(-(-n // 16) for n in shape))
    quantised = {"quant_method": "fp8", "weight_block_size": [16, 16]}
    found = inventory(_written(tmp_path / "m", tensors, LLAMA | {"quantization_config": quantised}))
    assert (found.complaints, found.stored_as) == ((), "safetensors FP8")
    assert found.parameters == inventory(oracles["llama-default"].folder).parameters
    assert found.parameters == sum(entry.parameters for entry in found.entries)
    names = [entry.name for entry in found.entries]
    scale = names.index("model.layers.0.self_attn.q_proj.weight_scale_inv")
    assert names[scale - 1] == "model.layers.0.self_attn.q_proj.weight"
    assert (found.entries[scale].role, found.entries[scale].parameters) == ("W_Q scale", 0)
    attention = next(part for part in found.components if part.name == "attention")
    assert attention.size == sum(entry.size for entry in found.entries if ".self_attn." in entry.name)


def test_mxfp4_stands_for_the_plain_tensor(oracles: Oracles, tmp_path: Path) -> None:
    config = VARIANTS["gpt_oss-small-limit"].config | {"hidden_size": 32, "intermediate_size": 64}
    tensors: Tensors = {}
    for entry in inventory(oracles["gpt_oss-small-limit"].folder).entries:
        shape = tuple(64 if n == 48 else 128 if n == 96 and "experts" in entry.name else n for n in entry.shape)
        if entry.name.endswith(("gate_up_proj", "down_proj")):
            experts, d_in, d_out = shape
            tensors[f"{entry.name}_blocks"] = ("U8", (experts, d_out, d_in // 32, 16))
            tensors[f"{entry.name}_scales"] = ("U8", (experts, d_out, d_in // 32))
        else:
            tensors[entry.name] = ("BF16", shape)
    found = inventory(_written(tmp_path / "m", tensors, {"model_type": "gpt_oss", **config}))
    assert found.complaints == ()
    with torch.device("meta"):
        ours = Decoder(found.config)
    assert found.parameters == sum(parameter.numel() for parameter in ours.parameters())
    roles = {entry.name.rpartition(".")[2]: entry.role for entry in found.entries}
    assert roles["gate_up_proj_blocks"] == "W_gate_up"
    assert roles["gate_up_proj_scales"] == "W_gate_up scale"


def test_what_is_missing_unknown_or_unfit_is_marked(oracles: Oracles, tmp_path: Path) -> None:
    tensors = _llama(oracles)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    del tensors["model.layers.2.mlp.up_proj.weight"]
    tensors |= {
        "model.layers.0.mlp.down_proj.weight": ("F32", (3, 5)),
        "model.norm.weight": ("I32", (32,)),
        "extra.10.weight": ("F32", (2,)),
        "extra.2.weight": ("F32", (2,)),
        "model.layers.0.self_attn.rotary_emb.inv_freq": ("F32", (4,)),
    }
    found = inventory(_written(tmp_path / "m", tensors, LLAMA))
    assert found.missing == ("model.layers.1.mlp.up_proj.weight", "model.layers.2.mlp.up_proj.weight")
    assert "lack the tensor model.layers.1.mlp.up_proj.weight and 1 more" in found.complaints[0]
    assert "has the shape [3, 5]; the configuration needs [32, 48]" in " ".join(found.complaints)
    states = {entry.name: entry.state for entry in found.entries}
    assert states["model.layers.0.mlp.down_proj.weight"] == states["model.norm.weight"] == "misfit"
    assert states["model.layers.0.self_attn.rotary_emb.inv_freq"] == "ignored"
    assert [name for name, state in states.items() if state == "unknown"] == ["extra.2.weight", "extra.10.weight"]
    assert found.parameters == inventory(oracles["llama-default"].folder).parameters
    with pytest.raises(CheckpointError):
        engine.load(tmp_path / "m")


def test_a_tied_model_with_a_copy(oracles: Oracles, tmp_path: Path) -> None:
    found = inventory(_written(tmp_path / "m", _llama(oracles), LLAMA | {"tie_word_embeddings": True}))
    copy = next(entry for entry in found.entries if entry.name == "lm_head.weight")
    assert (copy.state, copy.role, copy.parameters, found.complaints) == ("copy", "unembedding", 0, ())
    assert found.entries[0].state == "tied"


def test_an_unknown_model_is_listed_without_roles(oracles: Oracles, tmp_path: Path) -> None:
    folder = _written(tmp_path / "m", _llama(oracles), {"model_type": "mamba"})
    found = inventory(folder)
    assert (found.config, found.components, found.parameters) == (None, (), 0)
    assert {(entry.role, entry.state) for entry in found.entries} == {("", "")}
    assert "'mamba' is not supported" in found.complaints[0]
    (group,) = folded(found.entries)
    stars = Counter(row.name for row in group.rows)
    assert stars["model.layers.*.mlp.up_proj.weight"] == 1


def test_a_config_that_claims_a_million_experts_is_answered_at_once(oracles: Oracles, tmp_path: Path) -> None:
    claims = {"num_local_experts": 10_000, "num_hidden_layers": 1000}
    config = {"model_type": "mixtral", **VARIANTS["mixtral-default"].config, **claims}
    began = time.monotonic()
    found = inventory(_written(tmp_path / "m", _llama(oracles), config))
    assert time.monotonic() - began < 5
    assert (len(found.missing), found.components) == (1000, ())
    assert "at least 999 more" in found.complaints[0]


def _damaged_header(text: bytes, length: int | None = None) -> bytes:
    return (len(text) if length is None else length).to_bytes(8, "little") + text


ONE = '"dtype": "F32", "shape": [1], "data_offsets": [0, 4]'
UNSOUND = {
    "truncated": (_damaged_header(b'{"a": {%s}}' % ONE.encode()), "truncated"),
    "beyond the file": (_damaged_header(b"{}", 10**6), "claims 1000000 bytes"),
    "huge": (_damaged_header(b"{}", 2**63), "more than the allowed"),
    "twice": (_damaged_header(f'{{"a": {{{ONE}}}, "a": {{{ONE}}}}}'.encode()) + bytes(4), "occurs twice"),
    "overlap": (_damaged_header(f'{{"a": {{{ONE}}}, "b": {{{ONE}}}}}'.encode()) + bytes(4), "overlaps"),
    "no UTF-8": (_damaged_header(b'{"\xff\xfe": {%s}}' % ONE.encode()) + bytes(4), "not valid JSON"),
    "empty": (b"", "only 0 bytes"),
}


@pytest.mark.parametrize("case", UNSOUND)
def test_unsound_safetensors_are_one_sentence(tmp_path: Path, case: str) -> None:
    data, words = UNSOUND[case]
    (tmp_path / "model.safetensors").write_bytes(data)
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    with pytest.raises(CheckpointError, match=words):
        inventory(tmp_path)


def test_every_truncation_of_a_gguf_header_is_one_sentence(oracles: Oracles, tmp_path: Path) -> None:
    data = gguf_of(oracles["llama-default"], tmp_path / "m.gguf").read_bytes()
    for length in range(0, len(data), 1499):
        (tmp_path / "cut.gguf").write_bytes(data[:length])
        with pytest.raises(EngineError) as caught:
            inventory(tmp_path / "cut.gguf")
        assert len(str(caught.value)) < 400


def test_gguf_of_an_unknown_architecture(oracles: Oracles, tmp_path: Path) -> None:
    found = inventory(
        write_gguf(oracles["llama-default"].folder, tmp_path / "m.gguf", metadata={"general.architecture": "mamba"})
    )
    assert "GGUF architecture 'mamba' is not supported" in found.complaints[0]
    assert len(found.entries) > 20


def test_gguf_whose_settings_are_of_other_types(oracles: Oracles, tmp_path: Path) -> None:
    odd = {"phi3.embedding_length": None, "phi3.rope.dimension_count": "four"}
    found = inventory(write_gguf(oracles["phi3-default"].folder, tmp_path / "m.gguf", metadata=odd))
    assert found.config is None
    assert found.complaints
    assert found.entries


def test_sources_that_hold_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUOROSCOPE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SourceError, match="fetch it first: fluoroscope fetch smollm2"):
        inventory("smollm2")
    with pytest.raises(SourceError, match="fetch it first: fluoroscope fetch some/model@v1"):
        inventory("some/model@v1")
    with pytest.raises(SourceError, match="There is no file or folder"):
        inventory(str(tmp_path / "nothing"))
    with pytest.raises(SourceError, match=r"no config\.json"):
        inventory(tmp_path)
    (tmp_path / "config.json").write_text("[1")
    with pytest.raises(ConfigError, match="not valid JSON"):
        inventory(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(SourceError, match="pickle"):
        inventory(tmp_path)


def test_a_model_in_the_cache(oracles: Oracles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLUOROSCOPE_CACHE", str(tmp_path))
    folder = tmp_path / "some--model" / "1"
    folder.mkdir(parents=True)
    _written(folder, _llama(oracles), LLAMA)
    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    (folder / "complete.json").write_text(json.dumps({"source": "some/model", "model": ".", "files": sizes}))
    found = inventory("some/model")
    assert (found.name, found.complaints) == ("some/model", ())


def test_latent_attention_is_told_by_its_own_sizes(oracles: Oracles) -> None:
    found = inventory(oracles["deepseek_v2-low-rank-queries"].folder)
    assert found.config is not None
    assert isinstance(found.config.layers[0].attention, LatentAttentionSpec)
    symbols = {entry.role: entry.symbols for entry in found.entries}
    assert symbols["W_KV_up"] == ("n_heads·(d_nope + d_value)", "d_latent")
    assert symbols["W_KV_down"] == ("d_latent + d_rope", "d_model")


def test_a_file_that_goes_while_headers_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_llama(tmp_path)
    whole = inventory_file.read_headers

    def read_and_lose(*arguments: Any) -> Any:
        found = whole(*arguments)
        (tmp_path / "model.safetensors").unlink()
        return found

    monkeypatch.setattr(inventory_file, "read_headers", read_and_lose)
    with pytest.raises(SourceError, match=r"model\.safetensors cannot be read: No such file"):
        inventory(tmp_path)
