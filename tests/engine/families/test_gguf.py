"""The same model out of a GGUF file: what llama.cpp's converter rearranges, renames and leaves out is put right.

``pytest tests/engine/families/test_gguf.py -k gemma2`` runs one family.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import engine
from engine.loading import Loaded
from tests.engine.families import oracle as transformers_side
from tests.engine.families.as_gguf import IMPLIED, PUT_RIGHT, as_read, gguf_of
from tests.engine.families.compare import apart, differences, logits_of
from tests.engine.families.oracle import Oracle
from tests.engine.families.variants import VARIANTS
from tests.engine.gguf_files import lost, restored_folder

HELD = [variant.id for variant in VARIANTS.values() if variant.gguf]
FIRST_OF_ARCHITECTURE = list({VARIANTS[name].gguf: name for name in reversed(HELD)}.values())
TOLERANCE = 1e-5  # the weights are equal to the last bit; only rope divisors are rounded to float32


@pytest.mark.parametrize("oracle", HELD, indirect=True)
def test_logits_are_those_of_the_folder(oracle: Oracle, loaded: Loaded, tmp_path: Path) -> None:
    """And transformers': for a value that the file cannot say, with the one it implies."""
    read = engine.load(gguf_of(oracle, tmp_path / "m.gguf"), device=loaded.device, dtype="float32")
    ours = logits_of(read, oracle.ids)
    assert bool(lost(oracle.folder)) == (oracle.variant.id in PUT_RIGHT.keys() | IMPLIED.keys())
    if oracle.variant.id not in IMPLIED:
        assert apart(ours, logits_of(loaded, oracle.ids)) <= TOLERANCE, differences(read, oracle, oracle.ids)[:1]
    assert apart(ours, as_read(oracle).logits) <= oracle.variant.tolerance


@pytest.mark.parametrize("oracle", HELD, indirect=True)
def test_nothing_in_the_file_is_left_over(oracle: Oracle, tmp_path: Path) -> None:
    read = engine.load(gguf_of(oracle, tmp_path / "m.gguf"), device="cpu", dtype="float32")
    assert read.warnings == ()
    assert read.stored_as == "GGUF F32"


@pytest.mark.parametrize("oracle", FIRST_OF_ARCHITECTURE, indirect=True)
def test_quantised_weights(oracle: Oracle, loaded: Loaded, tmp_path: Path) -> None:
    """Q8_0: transformers with the weights that the file holds, dequantised; near the unrounded ones."""
    path = gguf_of(oracle, tmp_path / "m.gguf", quantisation="Q8_0")
    folder = restored_folder(oracle.folder, path, tmp_path / "restored")
    theirs = Oracle(oracle.variant, folder, transformers_side.load(folder, oracle.variant))
    read = engine.load(path, device=loaded.device, dtype="float32")
    ours = logits_of(read, oracle.ids)
    assert torch.isfinite(ours).all()
    assert apart(ours, theirs.logits) <= oracle.variant.tolerance, differences(read, theirs, oracle.ids)[:1]
    exact = logits_of(loaded, oracle.ids)
    assert 0 < float((ours - exact).norm() / exact.norm()) < 0.2


@pytest.mark.parametrize("oracle", FIRST_OF_ARCHITECTURE, indirect=True)
def test_a_split_file(oracle: Oracle, loaded: Loaded, tmp_path: Path) -> None:
    read = engine.load(gguf_of(oracle, tmp_path / "m.gguf", parts=3), device=loaded.device, dtype="float32")
    assert apart(logits_of(read, oracle.ids), logits_of(loaded, oracle.ids)) <= TOLERANCE
