"""The entries of an inventory: what each tensor of a model's files is for, by the naming tables of its family."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import prod
from operator import itemgetter
from types import ModuleType
from typing import Literal

from engine.checkpoint.accounts import Component, components
from engine.checkpoint.family_names import canonical_names, ignored
from engine.checkpoint.headers import Headers
from engine.checkpoint.presented import Presented, presented
from engine.checkpoint.roles import Role, role_of
from engine.checkpoint.sizes import symbol, with_symbols
from engine.checkpoint.tensors import TensorInfo
from engine.config import ModelConfig
from engine.families import slots_of
from engine.naming import MOST_MISSING, Slot

READABLE = ("F64", "F32", "F16", "BF16", "FP8", "MXFP4")  # of safetensors, as weights

State = Literal["used", "tied", "setting", "copy", "ignored", "unknown", "misfit", ""]


@dataclass(frozen=True, slots=True)
class Entry:
    """One tensor of the files.

    ``role`` is "" where it has none, ``layer`` and ``expert`` None where it belongs to all. ``shape`` as in the file,
    in torch order; ``symbols`` says what each axis is made of, () where that is not known. ``dtype``: the format's own
    word, or the quantisation. ``size`` in bytes; ``parameters`` is how many of the model's it holds, 0 for scales and
    for what is not used. ``file`` is the name of the file that it lies in.

    ``state``: "used"; "tied" (the embedding, used as unembedding too); "setting" (its values are part of the config);
    "copy" (of a tied embedding, not used); "ignored" (may be there, is no weight of the decoder); "unknown" (the model
    does without it); "misfit" (not the shape or type that the config needs); "" where the model itself is not known.
    """

    name: str
    role: str
    component: str
    layer: int | None
    expert: int | None
    shape: tuple[int, ...]
    symbols: tuple[str, ...]
    dtype: str
    size: int
    parameters: int
    file: str
    state: State


class Reading:
    """The parts of an inventory, from headers.

    Tensors go by three names: the file's own, the family's (``canonical``: without a wrapper's prefix) and, for several
    that stand for one, that of the plain tensor; slots know the last. ``check`` is called before each long part.
    """

    def __init__(self, headers: Headers, check: Callable[[], None] = lambda: None) -> None:
        self.headers, self.config = headers, headers.config
        self._check = check
        self.own = _own_names(headers)
        stored = {name: headers.tensors[own] for name, own in self.own.items()}
        self.plain = presented(stored) if headers.format == "safetensors" else _as_they_are(stored)
        self.slots: dict[str, list[Slot]] = {}
        self.roles: dict[str, Role] = {}
        if headers.config is not None and headers.family is not None:
            self._place(with_symbols(headers.config), headers.family)
        self.missing = tuple(name for name in self.slots if name not in self.plain)
        self.cut_short = sum(len(self.slots[name]) for name in self.missing) >= MOST_MISSING  # slots ended there

    def _place(self, config: ModelConfig, family: ModuleType) -> None:
        gguf = self.headers.format == "GGUF"
        for slot in slots_of(family, config, self.plain.__contains__, gguf=gguf):
            self.slots.setdefault(slot.name, []).append(slot)
        self._check()
        self.roles = {name: role_of(slots, config) for name, slots in self.slots.items()}

    @cached_property
    def common_type(self) -> str:
        """The type of most numbers."""
        weights: Counter[str] = Counter()
        for tensor in self.plain.values():
            weights[tensor.dtype] += prod(tensor.shape)
        return weights.most_common(1)[0][0] if weights else "without tensors"

    @cached_property
    def components(self) -> tuple[Component, ...]:
        """() for a model that is not known, or lacks so much that the rest was not looked at."""
        if self.config is None or self.cut_short:
            return ()
        counts = [(self.roles[name].component, _elements(slots[0].shape)) for name, slots in self.slots.items()]
        sizes: Counter[str] = Counter()
        for entry in self.entries:
            sizes[entry.component] += entry.size
        return components(counts, sizes, self.config)

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """Every stored tensor once, in order."""
        placed = [pair for tensor in self.plain.values() for pair in self._parts(tensor)]
        self._check()
        return tuple(entry for _, entry in sorted(placed, key=itemgetter(0)))

    def _parts(self, tensor: Presented) -> Iterator[tuple[tuple, Entry]]:
        """The stored tensors that make a plain one, each with what it is sorted by."""
        role, state = self.roles.get(tensor.name), self._state(tensor)
        slot = self.slots[tensor.name][0] if role else None
        for number, part in enumerate(tensor.parts):
            own = self.own[part]
            key = (0, (*role.order, number)) if role else (1, natural(own))
            if number == 0:
                yield key, self._entry(own, role, state, _role_name(role, state), slot)
            else:
                yield key, self._entry(own, role, state, f"{role.name} scale" if role else "", None)

    def _entry(self, own: str, role: Role | None, state: State, role_name: str, slot: Slot | None) -> Entry:
        info = self.headers.tensors[own]
        axes = slot.shape[len(slot.shape) - len(info.shape) :] if slot and self._fits(info.shape, slot.shape) else ()
        return Entry(
            name=own,
            role=role_name,
            component=role.component if role else "",
            layer=role.layer if role else None,
            expert=role.expert if role else None,
            shape=info.shape,
            symbols=tuple(symbol(size) for size in axes),
            dtype=info.dtype,
            size=info.size,
            parameters=_elements(slot.shape) if slot else 0,
            file=info.file.name,
            state=state,
        )

    def _state(self, tensor: Presented) -> State:
        if self.config is None:
            return ""
        if tensor.name in self.slots:
            tied = self.config.tied and self.roles[tensor.name].name == "embedding"
            return "misfit" if self._misfit(tensor) else "tied" if tied else "used"
        if tensor.name in self.headers.settings:
            return "setting"
        if not ignored(self.headers.family, self.config)(tensor.name):
            return "unknown"
        return "copy" if self.config.tied and tensor.name == self._unembedding else "ignored"

    @cached_property
    def _unembedding(self) -> str:
        """What the family would call it, if the model were not tied."""
        assert self.config is not None
        assert self.headers.family is not None
        untied = replace(self.config, tied=False, layers=self.config.layers[:1])
        slots = slots_of(self.headers.family, untied, lambda name: True, gguf=self.headers.format == "GGUF")
        return next(slot.name for slot in slots if slot.parameter == "unembed.weight")

    def _fits(self, found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
        """Equal; ggml's quantisation tool drops leading axes of one."""
        dropped = max(0, len(wanted) - len(found)) if self.headers.format == "GGUF" else 0
        return (1,) * dropped + found == wanted

    def _misfit(self, tensor: Presented) -> str:
        """Why a tensor is not what the config needs, "" where it is."""
        wanted = self.slots[tensor.name][0].shape
        if not self._fits(tensor.shape, wanted):
            need = list(map(int, wanted))
            return f"The tensor {tensor.name} has the shape {list(tensor.shape)}; the configuration needs {need}."
        if not _readable(self.headers.format, tensor.dtype):
            return f"The tensor {tensor.name} is stored as {tensor.dtype}, which cannot be read as a weight."
        return ""

    @cached_property
    def complaints(self) -> tuple[str, ...]:
        """Why the model cannot be loaded; of several tensors of one kind the first stands for all."""
        said = [self.headers.complaint, _lacking(self.missing, self.cut_short)]
        misfits = (self._misfit(tensor) for tensor in self.plain.values() if tensor.name in self.slots)
        said.append(next((misfit for misfit in misfits if misfit), ""))
        return tuple(sentence for sentence in said if sentence)


def _own_names(headers: Headers) -> dict[str, str]:
    """The files' names by the family's. Raises CheckpointError where two tensors have the same."""
    family = None if headers.format == "GGUF" else headers.family  # GGUF has one name for each
    return canonical_names(family, headers.tensors)


def _as_they_are(tensors: Mapping[str, TensorInfo]) -> dict[str, Presented]:
    """GGUF's quantised tensors have their scales inside."""
    return {name: Presented(name, info.shape, info.dtype, (name,)) for name, info in tensors.items()}


def _role_name(role: Role | None, state: State) -> str:
    if role is not None:
        return role.name
    return {"setting": "rope divisors", "copy": "unembedding"}.get(state, "")


def _elements(shape: tuple[int, ...]) -> int:
    return prod(map(int, shape))


@cache
def _readable(format_name: str, dtype: str) -> bool:
    if format_name == "safetensors":
        return dtype in READABLE
    from engine.checkpoint.gguf_file import can_dequantise

    return can_dequantise(dtype)


def _lacking(missing: tuple[str, ...], cut_short: bool) -> str:
    if not missing:
        return ""
    rest = len(missing) - 1
    more = f" and {'at least ' if cut_short else ''}{rest} more" if rest else ""
    return f"The weights lack the tensor {missing[0]}{more}, which the configuration needs."


def natural(name: str) -> tuple[tuple[str, int], ...]:
    """What names are sorted by so that layer 2 comes before layer 10."""
    return tuple((text, int(digits or 0)) for text, digits in re.findall(r"(\D*)(\d{0,18})", name))
