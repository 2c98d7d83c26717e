"""Where the shipped demo model lies, and what the tests read with it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from engine.loading import Loaded

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get("FLUOROSCOPE_DEMO_MODEL", ROOT / "resources" / "demo_model"))

TEXTS = {
    "tales": 'There was once a man who had three sons, and the youngest said, "Father, let me go into the forest."\n',
    "python": 'def joined(parts, sep=","):\n    """Join what is left."""\n    return sep.join(filter(None, parts))\n',
    "sums": "12 + 30 = 42\n99 - 7 = 92\n58 + 64 =",
}
TOLERANCE = 1e-4  # of a logit in float32


def ids(loaded: Loaded, kind: str) -> Tensor:
    """A text as the engine encodes it, ``[1, pos]``."""
    assert loaded.tokenizer is not None
    return torch.tensor([loaded.tokenizer.encode(TEXTS[kind])])


def read_json(name: str) -> dict[str, Any]:
    """A file beside the model."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))
