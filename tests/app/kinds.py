"""Tiny models of every kind of layer with a tokenizer, and what transformers computes for the same tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

import engine
from app.run import Run
from tests.app.conftest import write_tokenizer
from tests.app.panel_runs import real_run
from tests.engine.families.oracle import Oracle, build
from tests.engine.families.variants import VARIANTS

PROMPT = "The fluoroscope shows what it keeps."  # 36 tokens: beyond windows of 12 and chunks of 16
WINDOW, CHUNK = 12, 16  # of the variants
KINDS = (
    "gemma3_text-default",
    "mistral-sliding",
    "llama4_text-default",
    "deepseek_v3-default",
    "mixtral-default",
    "gpt_oss-default",
    "gpt2-default",
    "falcon-7b",
    "olmo2-default",
)


@dataclass(frozen=True)
class Kind:
    """One variant: the folder that the window opens, and the model of transformers with the same weights."""

    oracle: Oracle

    @property
    def folder(self) -> Path:
        return self.oracle.folder

    @cached_property
    def loaded(self) -> Any:
        return engine.load(self.folder, device="cpu", dtype="float32")

    def run(self, steps: int = 6) -> tuple[engine.Session, Run]:
        """A real run past the window and into the third chunk."""
        session = engine.Session(self.loaded, engine.Sampling(greedy=True))
        return session, real_run(session, PROMPT, steps)

    def expected(self, run: Run) -> Any:
        """Transformers' output for the tokens that were read: attentions and cache."""
        ids = torch.tensor([[piece.id for piece in run.pieces][: run.n_read]])
        self.oracle.forget_length()
        with torch.inference_mode():
            return self.oracle.model(input_ids=ids, use_cache=True, output_attentions=True)


class KindsOnDisk:
    """Kinds by variant id, each built when first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._built: dict[str, Kind] = {}

    def __getitem__(self, variant: str) -> Kind:
        if variant not in self._built:
            folder = self._folder / variant
            self._built[variant] = Kind(build(VARIANTS[variant], folder))
            write_tokenizer(folder)
        return self._built[variant]
