"""The tiny random transformers model of a variant, built once per session and saved to a folder for the engine.

Every parameter and every saved buffer is random: defaults of 0 and 1 (norm weights, biases, sinks, correction biases)
hide errors. Weights have std 0.25, so that a wrong rope or mask moves logits far beyond the tolerance.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
from transformers.utils import logging

from tests.engine.families.variants import VARIANTS, VOCABULARY, Variant

logging.disable_progress_bar()
logging.set_verbosity_error()  # it advises against forms of a config that real files have
STD = 0.25
EXPERTS = "eager"  # one expert after the other: the grouped kernels know no float64


@dataclass(frozen=True)
class Run:
    """What transformers computes for some positions: logits [batch, pos, vocab] and the cache behind them."""

    logits: Tensor
    cache: Any


@dataclass(frozen=True, eq=False)
class Oracle:
    """A variant's model in transformers, float32, eager attention, and the folder it is saved in."""

    variant: Variant
    folder: Path
    model: Any

    @cached_property
    def values(self) -> dict[str, Any]:
        """The saved config.json."""
        return json.loads((self.folder / "config.json").read_text())

    @cached_property
    def ids(self) -> Tensor:
        """A prompt [2, prompt] longer than windows, chunks and original contexts; no special tokens in it."""
        generator = torch.Generator().manual_seed(7)
        return torch.randint(3, VOCABULARY - 10, (2, self.variant.prompt), generator=generator)

    @cached_property
    def logits(self) -> Tensor:
        """Logits of the whole prompt, read at once without a cache."""
        return self.run(self.ids).logits

    def run(self, ids: Tensor, cache: Any = None, *, use_cache: bool = False) -> Run:
        """Read ``ids`` [batch, pos] behind ``cache``; with ``use_cache`` the result's cache can be read on."""
        if cache is None:
            self.forget_length()
        with torch.inference_mode():
            out = self.model(input_ids=ids, past_key_values=cache, use_cache=use_cache or cache is not None)
        return Run(out.logits, getattr(out, "past_key_values", None))

    def forget_length(self) -> None:
        """Dynamic ropes keep the base of the longest text read; a text shorter than the context resets them."""
        if not self.variant.decodes_as_prefill:
            with torch.inference_mode():
                self.model(input_ids=torch.tensor([[3]]), use_cache=False)

    def in_parts(self, ids: Tensor, cuts: list[int]) -> Tensor:
        """Logits of all positions, read part by part into transformers' own cache."""
        cache, logits = None, []
        for part in ids.tensor_split(cuts, dim=1):
            run = self.run(part, cache, use_cache=True)
            cache = run.cache
            logits.append(run.logits)
        return torch.cat(logits, dim=1)

    def greedy(self, ids: Tensor, steps: int) -> list[int]:
        """Token ids that greedy decoding with transformers' cache appends to ``ids`` [1, pos]."""
        run, chosen = self.run(ids, use_cache=True), []
        for _ in range(steps):
            chosen.append(int(run.logits[0, -1].argmax()))
            run = self.run(torch.tensor([chosen[-1:]]), run.cache)
        return chosen

    def in_float64(self, attention: str) -> Oracle:
        """The same weights in float64, with "eager" or "sdpa" attention, loaded anew."""
        model = load(self.folder, self.variant, attention, torch.float64)
        return Oracle(self.variant, self.folder, model)


class Oracles:
    """Oracles of a session by variant id, each built when first asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._built: dict[str, Oracle] = {}

    def __getitem__(self, variant_id: str) -> Oracle:
        if variant_id not in self._built:
            self._built[variant_id] = build(VARIANTS[variant_id], self._folder / variant_id)
        return self._built[variant_id]


def build(variant: Variant, folder: Path) -> Oracle:
    """Make the variant's random model and save it to ``folder``."""
    config = AutoConfig.for_model(variant.family, **_fresh(variant.config))
    model = _auto_class(variant).from_config(config, attn_implementation="eager", experts_implementation=EXPERTS)
    model = model.float().eval()
    randomise(model, variant.seed)
    model.requires_grad_(False)
    model.save_pretrained(folder)
    return Oracle(variant, folder, add_alibi_once(model))


def load(folder: Path, variant: Variant, attention: str = "eager", dtype: torch.dtype = torch.float32) -> Any:
    """The saved model, read back by transformers."""
    model = _auto_class(variant).from_pretrained(
        folder, dtype=dtype, attn_implementation=attention, experts_implementation=EXPERTS
    )
    return add_alibi_once(model.eval().requires_grad_(False))


def add_alibi_once(model: Any) -> Any:
    """Falcon's eager attention adds ALiBi, and again with the mask that holds it for the fused one; take it out there.

    The fused attention of transformers adds it once, as the model was trained; tests in float64 compare with that too.
    """
    if getattr(model.config, "alibi", False) and model.config._attn_implementation == "eager":
        for module in model.modules():
            if type(module).__name__ == "FalconAttention":
                module.register_forward_pre_hook(_with_plain_mask, with_kwargs=True)
    return model


def _with_plain_mask(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    mask = kwargs["attention_mask"]
    lowest = torch.finfo(mask.dtype).min
    return args, kwargs | {"attention_mask": torch.zeros_like(mask).masked_fill(mask == lowest, lowest)}


def _fresh(config: dict[str, Any]) -> dict[str, Any]:
    """A deep copy: transformers writes into the dictionaries that it is given."""
    return json.loads(json.dumps(config))


def _auto_class(variant: Variant) -> Any:
    return AutoModelForImageTextToText if "text_config" in variant.config else AutoModelForCausalLM


def randomise(model: nn.Module, seed: int) -> None:
    """Draw every parameter and every saved buffer anew; multiplying norm weights lie around one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor, centre in _drawn(model):
            tensor.normal_(centre, STD, generator=generator)


def _drawn(model: nn.Module) -> Iterator[tuple[Tensor, float]]:
    seen: set[int] = set()  # a tied weight has two names
    saved = model.state_dict(keep_vars=True)
    for name, tensor in saved.items():
        if id(tensor) in seen or not tensor.is_floating_point():
            continue
        seen.add(id(tensor))
        owner = model.get_submodule(name.rpartition(".")[0])
        yield tensor, 1.0 if name.endswith(".weight") and _multiplies(owner) else 0.0


def _multiplies(owner: nn.Module) -> bool:
    """Whether a module is a norm whose weight is used as it stands; Gemma's norms multiply with 1 + weight."""
    kind = type(owner).__name__
    return "Norm" in kind and not kind.startswith("Gemma")


def with_other_fields(oracle: Oracle, fields: dict[str, Any]) -> Oracle:
    """The same weights under a config with other fields."""
    values = _fresh({**oracle.variant.config, **fields})
    return with_config(oracle, AutoConfig.for_model(oracle.variant.family, **values))


def with_config(oracle: Oracle, config: Any) -> Oracle:
    """The same weights under another config of transformers."""
    model = _auto_class(oracle.variant).from_config(
        config, dtype=torch.float32, attn_implementation="eager", experts_implementation=EXPERTS
    )
    model.load_state_dict(oracle.model.state_dict())
    return Oracle(oracle.variant, oracle.folder, add_alibi_once(model.eval().requires_grad_(False)))
