"""``python -m resources.demo_model.expected``: writes what ``fluoroscope --self-test`` compares the model with.

A prompt, the tokens that are most probable after it, and the highest logits of each step, computed by the engine in
float32 on the processor. A test compares the file with ``transformers``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import engine

FILE = Path(__file__).parents[1] / "self_test.json"
PROMPT = "Once upon a time there was a king who had"
N_TOKENS = 8
N_LOGITS = 8  # per step
DIGITS = 5


def computed() -> dict[str, Any]:
    """What the file holds."""
    session = engine.Session(engine.load("demo", device="cpu", dtype="float32"), sampling=engine.Sampling(greedy=True))
    session.begin(PROMPT)
    frames = [step.frame() for step in session.steps(N_TOKENS)]
    steps = [_highest(frame.sampling.ids, frame.sampling.stages[0].logits) for frame in frames]
    return {"prompt": PROMPT, "tokens": [frame.piece.id for frame in frames], "steps": steps}


def written(figures: dict[str, Any]) -> str:
    """As JSON, a step a line."""
    steps = ",\n  ".join(map(json.dumps, figures["steps"]))
    head = ", ".join(f"{json.dumps(name)}: {json.dumps(figures[name])}" for name in ("prompt", "tokens"))
    return f'{{{head}, "steps": [\n  {steps}\n]}}\n'


def _highest(ids: Any, logits: Any) -> dict[str, list]:
    """Greedy sampling changes no logit before its last stage, so those of the first are the model's own."""
    return {
        "ids": ids[:N_LOGITS].tolist(),
        "logits": [round(value, DIGITS) for value in logits[:N_LOGITS].tolist()],
    }


if __name__ == "__main__":
    FILE.write_text(written(computed()), encoding="utf-8")
    print(f"{FILE} is written.")
