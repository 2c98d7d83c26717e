"""Sides d and e: transformers in its plain greedy loop, with SDPA, and eager with everything it can output."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.utils import logging

from tests.bench.job import Job
from tests.bench.timing import round_of

ATTENTION = {"d": "sdpa", "e": "eager"}
OUTPUTS: dict[str, dict[str, bool]] = {"d": {}, "e": {"output_attentions": True, "output_hidden_states": True}}


class GreedySide:
    """A greedy loop of one's own: subclasses load a model, and run it for ``count`` passes."""

    def __init__(self, job: Job) -> None:
        logging.disable_progress_bar()
        torch.set_num_threads(job.threads)
        self._job = job
        began = time.perf_counter()
        self._load(Path(job.model))
        self._seconds = time.perf_counter() - began

    def _load(self, model: Path) -> None:
        raise NotImplementedError

    def _run(self, count: int, most: int | None = None) -> dict[str, Any]:
        """The figures of a round; of the first ``most`` tokens of the prompt."""
        raise NotImplementedError

    def ready(self) -> dict[str, Any]:
        return {"load": self._seconds}

    def warm(self, most: int | None = None) -> dict[str, Any]:
        """A short run, of the first ``most`` tokens of the prompt."""
        self._run(3, most)
        return {}

    def round(self, threads: int) -> dict[str, Any]:
        """Prefill and decode once with this many threads."""
        torch.set_num_threads(threads)
        return self._run(self._job.tokens + 1)

    def close(self) -> None:
        """Nothing to end."""


class TransformersSide(GreedySide):
    """The same weights in float32, and a loop that computes the last position's logits only."""

    def _load(self, model: Path) -> None:
        self._outputs = OUTPUTS[self._job.side]
        self._model = loaded(model, ATTENTION[self._job.side])

    @torch.inference_mode()
    def _run(self, count: int, most: int | None = None) -> dict[str, Any]:
        cache = DynamicCache(config=self._model.config)
        ids, came, kept = [], [], []
        began = time.perf_counter()
        read = torch.tensor([self._job.ids[:most]])
        for _ in range(count):
            out = self._model(read, past_key_values=cache, use_cache=True, logits_to_keep=1, **self._outputs)
            read = out.logits[:, -1].argmax(-1, keepdim=True)
            ids.append(int(read))
            kept.append((out.attentions, out.hidden_states))  # of every pass, as a record has it
            came.append(time.perf_counter())
        tensors = (tensor for outputs in kept for output in outputs for tensor in output or ())
        return round_of(began, came, ids, len(self._job.ids)) | {"kept": sum(tensor.nbytes for tensor in tensors)}


def loaded(path: Path, attention: str) -> Any:
    """The model in float32, with this implementation of attention."""
    folder, where = place(path)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention, **where)
    assert model.config._attn_implementation == attention
    return model.eval().requires_grad_(False)


def place(path: Path) -> tuple[Path, dict[str, str]]:
    """The folder, and the name of the GGUF file in it where the model is one, as ``from_pretrained`` takes them."""
    return (path.parent, {"gguf_file": path.name}) if path.is_file() else (path, {})
