"""README's parity table is the one that the command makes: same rows, and no family is farther off than it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine.families import table
from tests.engine.families.oracle import Oracles
from tests.engine.families.variants import VARIANTS

NOISE = 4  # another processor rounds otherwise; a wrong part moves logits by more than 0.05


@pytest.fixture(scope="module")
def results(oracles: Oracles, tmp_path_factory: pytest.TempPathFactory) -> list[table.Measured]:
    """Every variant, measured here and now."""
    folder: Path = tmp_path_factory.mktemp("table")
    return [table.measured(oracles[name], folder) for name in VARIANTS]


def test_the_table_in_readme_has_these_rows(results: list[table.Measured]) -> None:
    here = table.table(table.rows(results))
    assert table.without_figures(table.published()) == table.without_figures(here), (
        "python -m tests.engine.families.table --write makes it anew"
    )


def test_the_figures_in_readme_hold(results: list[table.Measured]) -> None:
    said = table.figures(table.published())
    assert said.keys() == {variant.family for variant in VARIANTS.values()}
    assert max(said.values()) <= 1e-4
    measured = table.figures(table.table(table.rows(results)))
    too_far = {family: figure for family, figure in measured.items() if figure > max(NOISE * said[family], 2e-6)}
    assert too_far == {}
