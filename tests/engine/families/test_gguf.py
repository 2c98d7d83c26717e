"""The same model out of a GGUF file: what llama.cpp's converter rearranges, renames and leaves out is put right.

``pytest tests/engine/families/test_gguf.py -k gemma2`` runs one family.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import engine
from engine.loading import Loaded
from tests.engine.families import oracle as transformers_side
from tests.engine.families.compare import apart, differences
from tests.engine.families.oracle import Oracle, with_config
from tests.engine.families.variants import VARIANTS
from tests.engine.gguf_files import lost, restored_folder, write_gguf

HELD = [variant.id for variant in VARIANTS.values() if variant.gguf]
FIRST_OF_ARCHITECTURE = list({VARIANTS[name].gguf: name for name in reversed(HELD)}.values())
TOLERANCE = 1e-5  # the weights are equal to the last bit; only rope divisors are rounded to float32

# what a converted file says wrongly about a variant: keys that make it right
PUT_RIGHT: dict[str, dict[str, Any]] = {"falcon-11b": {"falcon.feed_forward_length": 56}}
# what it cannot say: the field's value that every reader takes instead
IMPLIED: dict[str, dict[str, Any]] = {
    "deepseek_v2-yarn-mscale": {"mscale": 0.6},
    "deepseek_v3-yarn-mscale": {"mscale": 0.6},
}


def _gguf(oracle: Oracle, path: Path, **options: Any) -> Path:
    return write_gguf(oracle.folder, path, metadata=PUT_RIGHT.get(oracle.variant.id), **options)


def _as_read(oracle: Oracle) -> Oracle:
    """Transformers with the values that the file implies."""
    implied = IMPLIED.get(oracle.variant.id)
    if implied is None:
        return oracle
    config = oracle.model.config.__class__.from_pretrained(oracle.folder)
    config.rope_parameters = config.rope_parameters | implied
    return with_config(oracle, config)


@pytest.mark.parametrize("oracle", HELD, indirect=True)
def test_logits_are_those_of_the_folder(oracle: Oracle, loaded: Loaded, tmp_path: Path) -> None:
    """And transformers': for a value that the file cannot say, with the one it implies."""
    read = engine.load(_gguf(oracle, tmp_path / "m.gguf"), device="cpu", dtype="float32")
    ours = read.model(oracle.ids)
    assert bool(lost(oracle.folder)) == (oracle.variant.id in PUT_RIGHT.keys() | IMPLIED.keys())
    if oracle.variant.id not in IMPLIED:
        assert apart(ours, loaded.model(oracle.ids)) <= TOLERANCE, differences(read, oracle, oracle.ids)[:1]
    assert apart(ours, _as_read(oracle).logits) <= oracle.variant.tolerance


@pytest.mark.parametrize("oracle", HELD, indirect=True)
def test_nothing_in_the_file_is_left_over(oracle: Oracle, tmp_path: Path) -> None:
    read = engine.load(_gguf(oracle, tmp_path / "m.gguf"), device="cpu", dtype="float32")
    assert read.warnings == ()
    assert read.stored_as == "GGUF F32"


@pytest.mark.parametrize("oracle", FIRST_OF_ARCHITECTURE, indirect=True)
def test_quantised_weights(oracle: Oracle, loaded: Loaded, tmp_path: Path) -> None:
    """Q8_0: transformers with the weights that the file holds, dequantised; near the unrounded ones."""
    path = _gguf(oracle, tmp_path / "m.gguf", quantisation="Q8_0")
    folder = restored_folder(oracle.folder, path, tmp_path / "restored")
    theirs = Oracle(oracle.variant, folder, transformers_side.load(folder, oracle.variant))
    read = engine.load(path, device="cpu", dtype="float32")
    ours = read.model(oracle.ids)
    assert torch.isfinite(ours).all()
    assert apart(ours, theirs.logits) <= oracle.variant.tolerance, differences(read, theirs, oracle.ids)[:1]
    exact = loaded.model(oracle.ids)
    assert 0 < float((ours - exact).norm() / exact.norm()) < 0.2


@pytest.mark.parametrize("oracle", FIRST_OF_ARCHITECTURE, indirect=True)
def test_a_split_file(oracle: Oracle, loaded: Loaded, tmp_path: Path) -> None:
    read = engine.load(_gguf(oracle, tmp_path / "m.gguf", parts=3), device="cpu", dtype="float32")
    assert apart(read.model(oracle.ids), loaded.model(oracle.ids)) <= TOLERANCE
