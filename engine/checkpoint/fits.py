"""Does a model fit here? Weights, cache and working space against what is free, before anything is loaded.

By the rule that loading itself goes by (``engine/checkpoint/room.py``). No torch here, but in ``accelerators``.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from engine.amounts import bytes_text
from engine.checkpoint.room import ITEMSIZES, Room, computing_type, parts_text, room
from engine.config import ModelConfig

Verdict = Literal["fits", "tight", "does not fit"]
DTYPES = ("float32", "bfloat16", "float16")  # that a model is held in; what else loading takes is for tests
TIGHT = 0.85  # of what is free: above it little is left for anything else


@dataclass(frozen=True)
class Device:
    """A place to compute: ``name`` as torch writes it ("cpu", "cuda:0", "mps"), ``title`` for people; bytes."""

    name: str
    title: str
    free: int
    total: int


@dataclass(frozen=True)
class Fit:
    """Bytes that a model needs on a device, and whether they are there; ``sentence`` says it all.

    ``dtype`` is never "auto"; ``context``: positions that are counted, never more than the model's.
    """

    device: Device
    dtype: str
    context: int
    weights: int
    cache: int
    working: int
    verdict: Verdict
    sentence: str

    @property
    def needed(self) -> int:
        return self.weights + self.cache + self.working


def processor() -> Device:
    """The CPU, with the computer's memory."""
    memory = psutil.virtual_memory()
    return Device("cpu", "the CPU", memory.available, memory.total)


def accelerators() -> tuple[Device, ...]:
    """The GPUs that torch can use; none where their driver fails. Imports torch: the window asks the worker."""
    import torch

    try:
        if torch.cuda.is_available():
            count = torch.cuda.device_count()
            found = [(f"cuda:{index}", torch.cuda.get_device_properties(index)) for index in range(count)]
            return tuple(Device(name, it.name, _free(name), it.total_memory) for name, it in found)
        if torch.backends.mps.is_available():
            return (Device("mps", "Apple's GPU", _free("mps"), torch.mps.recommended_max_memory()),)
    except RuntimeError:
        return ()
    return ()


def _free(name: str) -> int:
    """Bytes that are free on a GPU; 0 on one that others fill or hold for themselves, which does not even say so."""
    import torch

    from engine.checkpoint.memory import free_bytes

    try:
        return free_bytes(torch.device(name))
    except RuntimeError:
        return 0


def fits(config: ModelConfig, parameters: int, context: int, device: Device, dtype: str = "auto") -> Fit:
    """Whether a model and a run of ``context`` positions fit into what a device has free.

    ``dtype`` "auto" is what loading takes there; weights are held in it however the files store them. A context beyond
    the model's is cut to it. Raises EngineError for a type that is not known.
    """
    dtype, context = computing_type(dtype, device.name), min(context, config.n_ctx)
    found = room(config, parameters, context, ITEMSIZES[dtype])
    verdict: Verdict = "fits" if found.needed <= TIGHT * device.free else "tight"
    verdict = verdict if found.needed <= device.free else "does not fit"
    sentence = _sentence(found, context, device, dtype, verdict)
    return Fit(device, dtype, context, found.weights, found.cache, found.working, verdict, sentence)


def _sentence(found: Room, context: int, device: Device, dtype: str, verdict: Verdict) -> str:
    needed, parts = bytes_text(found.needed), parts_text(found, dtype, context)
    begin = {"fits": "It fits", "tight": "It fits, but barely", "does not fit": "It does not fit"}[verdict]
    return f"{begin}: it needs {needed} and {bytes_text(device.free)} are free on {device.title} ({parts})."


def largest_context(config: ModelConfig, parameters: int, device: Device, dtype: str = "auto") -> int:
    """The most positions of a run that fits, at most the model's context; 0 where not even one does."""
    itemsize = ITEMSIZES[computing_type(dtype, device.name)]
    least, most = 0, config.n_ctx  # the answer lies in [least, most]: more positions never take less
    while least < most:
        middle = (least + most + 1) // 2
        enough = room(config, parameters, middle, itemsize).needed <= device.free
        least, most = (middle, most) if enough else (least, middle - 1)
    return least


@dataclass(frozen=True)
class DiskFit:
    """Whether a download has its place; bytes."""

    needed: int
    free: int
    fits: bool
    sentence: str


def disk(size: int, folder: Path) -> DiskFit:
    """Whether ``size`` bytes have a place on the disk of a folder, which need not exist yet."""
    from engine.checkpoint.download import SPARE  # here: it knows the network, which the rest does without

    free = free_disk(folder)
    enough = size + SPARE <= free
    begin = "The download has its place" if enough else "The disk is too full for the download"
    sentence = f"{begin}: it takes {bytes_text(size)} and {bytes_text(free)} are free at {folder}."
    return DiskFit(size, free, enough, sentence)


def free_disk(folder: Path) -> int:
    """Bytes that are free where a folder lies or would be made; 0 where that cannot be told."""
    for place in (folder, *folder.absolute().parents):
        try:
            return shutil.disk_usage(place).free
        except FileNotFoundError:
            continue  # it would be made in the one above
        except (OSError, ValueError):
            return 0
    return 0
