"""Side f: TransformerLens, which wraps the module of transformers and caches every hook of every pass.

It needs the extra ``bench``. The model is handed over ready, so that nothing is looked up on the hub.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformer_lens import ActivationCache
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoTokenizer, DynamicCache

from tests.bench.timing import round_of
from tests.bench.transformers_side import GreedySide, loaded, place


class LensSide(GreedySide):
    """A greedy loop of ``run_with_cache``; the keys and values of the passes before are given to each."""

    def _load(self, model: Path) -> None:
        folder, where = place(model)
        eager, tokenizer = loaded(model, "eager"), AutoTokenizer.from_pretrained(folder, **where)
        self._bridge = TransformerBridge.boot_transformers(
            str(folder), hf_model=eager, tokenizer=tokenizer, device="cpu", dtype=torch.float32
        )
        self._config = eager.config

    def ready(self) -> dict[str, Any]:
        return super().ready() | {"version": version("transformer-lens")}

    @torch.inference_mode()
    def _run(self, count: int, most: int | None = None) -> dict[str, Any]:
        before = DynamicCache(config=self._config)
        ids, came, kept = [], [], []
        began = time.perf_counter()
        read = torch.tensor([self._job.ids[:most]])
        for _ in range(count):
            logits, activations = self._bridge.run_with_cache(read, return_type="logits", past_key_values=before)
            read = logits[:, -1].argmax(-1, keepdim=True)
            ids.append(int(read))
            kept.append(activations)
            came.append(time.perf_counter())
        return round_of(began, came, ids, len(self._job.ids)) | {"kept": sum(map(_bytes, kept))}


def _bytes(activations: ActivationCache) -> int:
    """What the cached tensors take: several names may stand for one tensor, or for parts of it."""
    storages = (tensor.untyped_storage() for tensor in activations.values())
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
