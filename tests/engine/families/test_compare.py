"""The comparison finds a fault where it is: the same weights under a config that says something else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.loading import Loaded
from tests.engine.families.compare import differences, first_difference
from tests.engine.families.oracle import Oracle, Oracles
from tests.engine.families.variants import rope


def _under_another_config(oracle: Oracle, folder: Path, fields: dict[str, Any]) -> Loaded:
    shutil.copytree(oracle.folder, folder, dirs_exist_ok=True)
    (folder / "config.json").write_text(json.dumps(oracle.values | fields))
    return engine.load(folder, device="cpu", dtype="float32")


@pytest.mark.parametrize(
    ("fields", "name", "stage"),
    [
        ({"rope_parameters": rope(theta=500.0)}, "blocks.0.attn.hook_rot_k", "rope"),
        ({"hidden_act": "gelu"}, "blocks.0.mlp.hook_post", "activation"),
        ({"rms_norm_eps": 0.1}, "blocks.0.ln1.hook_normalized", "norm 1"),
    ],
)
def test_the_first_stage_that_differs(
    fields: dict[str, Any], name: str, stage: str, oracles: Oracles, tmp_path: Path
) -> None:
    oracle = oracles["llama-default"]
    wrong = _under_another_config(oracle, tmp_path, fields)
    found = first_difference(wrong, oracle, oracle.ids)
    assert found is not None
    assert (found.name, found.stage) == (name, stage)
    assert "apart" in str(found)
    assert len(differences(wrong, oracle, oracle.ids)) > 10


def test_nothing_differs_where_nothing_is_wrong(oracles: Oracles, tmp_path: Path) -> None:
    oracle = oracles["llama-default"]
    assert first_difference(_under_another_config(oracle, tmp_path, {}), oracle, oracle.ids) is None
