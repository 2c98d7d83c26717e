"""Measure every figure of the model card again, from the weights, through Fluoroscope's engine in float32.

    python -m resources.demo_model.evaluate --tales grimm.txt            # print them
    python -m resources.demo_model.evaluate --tales grimm.txt --check    # compare them with the card's
    python -m resources.demo_model.evaluate --tales grimm.txt --write    # write them into the card

Takes about two minutes. One thread: the samples' tokens depend on how sums are rounded, so on how they are divided.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import re
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer

import engine
from engine.config import MoESpec
from engine.loading import Loaded
from resources.demo_model import arithmetic, card, continuation, division
from resources.demo_model.compare import differences
from resources.demo_model.corpus import Stream, texts
from resources.demo_model.prediction import Reading, read
from resources.demo_model.texts import Texts, sums

HERE = Path(__file__).parent
SEED = 1812  # of the training's sums; the held-out ones have the next
SUM_DOCUMENTS = 100  # of held-out pairs
WEIGHTS, FIGURES, TRAINING, CARD = "model.safetensors", "figures.json", "training.json", "README.md"


def measure(folder: Path, tales_file: Path) -> card.Figures:
    """Every figure. Raises EngineError for a folder that cannot be loaded, OSError for a file that cannot be read."""
    torch.set_num_threads(1)
    loaded = engine.load(folder, device="cpu", dtype="float32")
    tokenizer, documents = Tokenizer.from_file(str(folder / "tokenizer.json")), texts(tales_file, SEED)
    kept = {name: found.held_out for name, found in documents.items()} | {"sums": held_out_sums()}
    readings = {name: read(loaded, found, tokenizer) for name, found in kept.items()}
    return {
        "measured_with": measured_with(tales_file),
        "model": size(loaded, folder),
        "data": data(documents, tokenizer),
        "text": {name: reading.figures() for name, reading in readings.items()},
        "sums": {sign: arithmetic.accuracy(loaded, sign) for sign in arithmetic.SIGNS},
        "functions": continuation.functions(loaded, kept["python"]),
        "router": router(readings),
        "samples": continuation.samples(loaded),
    }


def held_out_sums() -> list[str]:
    """Documents of sums whose pairs training never saw."""
    return sums(SUM_DOCUMENTS, SEED + 1, held_out=True)


def data(documents: dict[str, Texts], tokenizer: Tokenizer) -> dict[str, dict[str, int]]:
    """How much there was to train on, by domain."""
    return {
        name: {"documents": len(found.train), "tokens": len(Stream(tokenizer, found.train).ids)}
        for name, found in documents.items()
    }


def router(readings: dict[str, Reading]) -> card.Figures:
    """How routers send the domains' tokens."""
    found = {name: reading.routing for name, reading in readings.items()}
    return {"divided": division.divided(found), "balance": division.balance(found), "shares": division.shares(found)}


def size(loaded: Loaded, folder: Path) -> dict[str, int]:
    """Parameters, those that a token uses, bytes of the weights' file."""
    idle = sum(_idle(layer.mlp, loaded.config.d_model) for layer in loaded.config.layers)
    file_bytes = (folder / WEIGHTS).stat().st_size
    return {"parameters": loaded.parameters, "active_parameters": loaded.parameters - idle, "file_bytes": file_bytes}


def _idle(mlp: object, d_model: int) -> int:
    """Parameters of the experts that a token does not choose; an expert is three matrices."""
    return (mlp.n_experts - mlp.top_k) * 3 * mlp.expert.d_mlp * d_model if isinstance(mlp, MoESpec) else 0


def measured_with(tales_file: Path) -> dict[str, str]:
    """What the figures depend on besides the weights."""
    return {
        "python": platform.python_version(),
        "tales": hashlib.sha256(tales_file.read_bytes()).hexdigest(),
        "build": build(),
    }


def build() -> str:
    """What decides how sums are rounded: torch, the processor, and which of its instructions torch uses."""
    known = Path("/proc/cpuinfo")  # of Linux; elsewhere Python knows the processor's name
    text = known.read_text(encoding="utf-8") if known.exists() else ""
    named = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    processor = named[1] if named else platform.processor() or platform.machine()
    return f"torch {torch.__version__} on {processor} ({torch.backends.cpu.get_cpu_capability()})"


def write(folder: Path, figures: card.Figures) -> None:
    """Put the figures into the card and beside it. Raises OSError where card or training's facts are not there."""
    training = json.loads((folder / TRAINING).read_text(encoding="utf-8"))
    text = card.filled((folder / CARD).read_text(encoding="utf-8"), card.blocks(figures, training))
    (folder / FIGURES).write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / CARD).write_text(text, encoding="utf-8")


def main() -> int:
    """The command line; 1 where figures differ from the card's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tales", type=Path, required=True, help="the tales, <|endoftext|> between them")
    parser.add_argument("--model", type=Path, default=HERE, help="the model's folder, with its card")
    parser.add_argument("--write", action="store_true", help="write the figures into the card")
    parser.add_argument("--check", action="store_true", help="compare the figures with the card's")
    given = parser.parse_args()
    figures = measure(given.model, given.tales)
    print(json.dumps(figures, indent=1, ensure_ascii=False))
    if given.write:
        write(given.model, figures)
    if not given.check:
        return 0
    found = differences(figures, json.loads((given.model / FIGURES).read_text(encoding="utf-8")))
    print("\n".join(found) or "Every figure agrees with the card.", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
