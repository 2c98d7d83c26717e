"""The parity table of README: how far each family is from transformers, measured.

``python -m tests.engine.families.table`` measures every variant and prints the table; with ``--write`` it replaces
the one in README.
"""

from __future__ import annotations

import argparse
import math
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

import engine
from tests.engine.families.as_gguf import as_read, gguf_of
from tests.engine.families.compare import apart
from tests.engine.families.oracle import Oracle, Oracles
from tests.engine.families.variants import VARIANTS, Variant

README = Path(__file__).parents[3] / "README.md"
BEGIN, END = "<!-- parity table -->", "<!-- end of parity table -->"
HEADER = "| family | variants | attention | cache | float32 max abs(Δ logit) | GGUF |\n|---|---|---|---|---|---|\n"
_ROW = re.compile(r"\| `(?P<family>[^`]+)` \| (?P<variants>[^|]+) \| [^|]+ \| [^|]+ \| (?P<worst>[^|]+) \| [^|]+ \|")


@dataclass(frozen=True)
class Measured:
    """One variant: the largest difference of a logit from transformers, from the folder and from a GGUF file."""

    variant: Variant
    folder: float
    gguf: float | None

    @property
    def worst(self) -> float:
        return max(self.folder, self.gguf or 0.0)


def measured(oracle: Oracle, folder: Path) -> Measured:
    """Both distances; the GGUF file is written to ``folder``."""
    variant = oracle.variant
    from_folder = _distance(oracle, oracle.folder)
    if variant.gguf is None:
        return Measured(variant, from_folder, None)
    path = gguf_of(oracle, folder / f"{variant.id}.gguf")
    return Measured(variant, from_folder, _distance(as_read(oracle), path))


def _distance(oracle: Oracle, source: Path) -> float:
    return float(apart(engine.load(source, device="cpu", dtype="float32").model(oracle.ids), oracle.logits))


def rows(results: Iterable[Measured]) -> list[str]:
    """One row of the table per family, in the order of the variants."""
    families: dict[str, list[Measured]] = {}
    for result in results:
        families.setdefault(result.variant.family, []).append(result)
    return [_row(family, found) for family, found in families.items()]


def _row(family: str, found: list[Measured]) -> str:
    variants = [result.variant for result in found]
    worst = max(result.worst for result in found)
    gguf = list(dict.fromkeys(variant.gguf for variant in variants if variant.gguf))
    cells = (
        f"`{family}`",
        ", ".join(variant.name for variant in variants),
        ", ".join(dict.fromkeys(variant.attention for variant in variants)),
        ", ".join(dict.fromkeys(variant.cache for variant in variants)),
        _rounded_up(worst),
        ", ".join(f"yes (`{architecture}`)" for architecture in gguf) or "no",
    )
    return f"| {' | '.join(cells)} |"


def _rounded_up(value: float) -> str:
    """One digit, never less than measured: "3e-06"."""
    if value == 0:
        return "0"
    power = math.floor(math.log10(value))
    return f"{math.ceil(value / 10**power) * 10.0**power:.0e}"


def table(lines: Iterable[str]) -> str:
    return HEADER + "\n".join(lines) + "\n"


def published() -> str:
    """The table that README holds."""
    text = README.read_text(encoding="utf-8")
    return text[text.index(BEGIN) + len(BEGIN) : text.index(END)].strip() + "\n"


def figures(text: str) -> dict[str, float]:
    """Family to its figure in a table."""
    return {match["family"]: float(match["worst"]) for match in _ROW.finditer(text)}


def without_figures(text: str) -> str:
    """A table with its figures left out: what must be the same on every machine."""
    return _ROW.sub(lambda match: match[0].replace(f"| {match['worst']} |", "|"), text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the table in README")
    write = parser.parse_args().write
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        oracles = Oracles(Path(folder) / "oracles")
        text = table(rows(measured(oracles[name], Path(folder)) for name in VARIANTS))
    print(text)
    if write:
        readme = README.read_text(encoding="utf-8")
        start, stop = readme.index(BEGIN) + len(BEGIN), readme.index(END)
        README.write_text(f"{readme[:start]}\n{text}{readme[stop:]}", encoding="utf-8")


if __name__ == "__main__":
    main()
