"""Both sides of every variant, once per session: the oracle's model and the engine's, from the same folder.

The engine's runs on the device that FLUOROSCOPE_TEST_DEVICE names ("cuda"), transformers' always on the CPU.
"""

from __future__ import annotations

import os

import pytest

import engine
from engine.loading import Loaded
from tests.engine.families.oracle import Oracle, Oracles
from tests.engine.families.variants import VARIANTS

DEVICE = os.environ.get("FLUOROSCOPE_TEST_DEVICE", "cpu")


@pytest.fixture(scope="session")
def oracles(tmp_path_factory: pytest.TempPathFactory) -> Oracles:
    """Models of transformers by variant id, each built when first asked for."""
    return Oracles(tmp_path_factory.mktemp("families"))


@pytest.fixture(params=VARIANTS)
def oracle(request: pytest.FixtureRequest, oracles: Oracles) -> Oracle:
    """One variant's model in transformers; a test that asks for it runs for every variant."""
    return oracles[request.param]


@pytest.fixture(scope="session")
def engines() -> dict[str, Loaded]:
    """Models that the engine has loaded, by variant id."""
    return {}


@pytest.fixture
def loaded(oracle: Oracle, engines: dict[str, Loaded]) -> Loaded:
    """The same weights in the engine, float32, loaded once."""
    if oracle.variant.id not in engines:
        engines[oracle.variant.id] = engine.load(oracle.folder, device=DEVICE, dtype="float32")
    return engines[oracle.variant.id]
