"""Load a model: from a source to a decoder with its weights, never holding two copies of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from engine.checkpoint.identity import Identity
from engine.checkpoint.memory import check_memory
from engine.checkpoint.opened import Checkpoint, open_checkpoint
from engine.checkpoint.room import computing_type
from engine.checkpoint.source import Source, resolve
from engine.checkpoint.titles import title_of
from engine.checkpoint.weights import Report, fill
from engine.config import MLPSpec, ModelConfig, MoESpec, expert_parameters
from engine.errors import CheckpointError, ConfigError, EngineError, MemoryShortage, SourceError, TokenizerError
from engine.frames import LayerFacts, ModelFrame, ProgressFrame
from engine.settings import Sampling

if TYPE_CHECKING:
    from engine.model.decoder import Decoder
    from engine.tokenizer import Tokenizer

Progress = Callable[[ProgressFrame], None]

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}
REPORT_EVERY = 0.05  # seconds between two progress reports


@dataclass(frozen=True)
class Loaded:
    """A model that is ready to run.

    ``stored_as`` says how its file holds the weights ("safetensors bfloat16", "GGUF Q4_1"), ``weight_bytes`` what they
    take in memory, ``seconds`` what loading took. ``tokenizer`` is None for a folder without tokenizer files.
    ``warnings``: sentences about what the file has and the model does without. ``sampling``: the model's own defaults,
    None where its files say nothing. ``identity``: sums of its configuration and headers, as they were when it loaded.
    """

    config: ModelConfig
    tokenizer: Tokenizer | None
    model: Decoder
    name: str
    source: str
    stored_as: str
    parameters: int
    weight_bytes: int
    seconds: float
    device: torch.device
    dtype: torch.dtype
    warnings: tuple[str, ...] = ()
    sampling: Sampling | None = None
    identity: Identity | None = None

    def model_frame(self) -> ModelFrame:
        """What the window needs to know about the model, without torch."""
        from engine.point_table import outer_points

        before, behind = outer_points(self.config)
        return ModelFrame(
            name=self.name,
            source=self.source,
            family=self.config.family,
            d_model=self.config.d_model,
            d_vocab=self.config.d_vocab,
            n_ctx=self.config.n_ctx,
            layers=tuple(layer_facts(self.config, index) for index in range(self.config.n_layers)),
            parameters=self.parameters,
            weight_bytes=self.weight_bytes,
            kv_itemsize=self.dtype.itemsize,
            dtype=str(self.dtype).removeprefix("torch."),
            device=str(self.device),
            stored_as=self.stored_as,
            has_chat_template=self.tokenizer is not None and self.tokenizer.has_chat_template,
            seconds=self.seconds,
            warnings=self.warnings,
            sampling=self.sampling,
            points_before=before,
            points_behind=behind,
        )


def layer_facts(config: ModelConfig, index: int) -> LayerFacts:
    """What a panel must know about one layer."""
    from engine.hooks import layer_stages
    from engine.point_table import attention_stages, layer_points

    spec, mlp = config.layers[index].attention, config.layers[index].mlp
    experts = mlp if isinstance(mlp, MoESpec) else None
    return LayerFacts(
        n_heads=spec.n_heads,
        n_kv_heads=spec.n_kv_heads,
        d_head=spec.d_head,
        d_mlp=mlp.d_mlp if isinstance(mlp, MLPSpec) else mlp.expert.d_mlp,
        stages=layer_stages(config, index),
        attention=spec.kind,
        reach=getattr(spec, "window", None) or getattr(spec, "chunk", None),
        cached=tuple((part.name, part.heads, part.width) for part in spec.cached),
        d_rope=getattr(spec, "d_rope", 0),
        sinks=getattr(spec, "sinks", False),
        n_experts=0 if experts is None else experts.n_experts,
        top_k=0 if experts is None else experts.top_k,
        experts=experts,
        expert_parameters=0 if experts is None else expert_parameters(experts, config.d_model),
        points=layer_points(config, index),
        scale=spec.scale,
        softcap=getattr(spec, "softcap", None),
        alibi=getattr(spec, "alibi", False),
        tempered=getattr(spec, "temperature", None) is not None,
        attention_stages=attention_stages(config, index),
    )


def load(
    source: str | os.PathLike[str], *, device: str = "auto", dtype: str = "auto", progress: Progress | None = None
) -> Loaded:
    """Load a model.

    Args:
        source: a folder with config.json and safetensors, a .gguf file, a catalog name that is built in or was fetched
            before, or a hub id ``org/name[@revision]``, which is fetched into the cache.
        device: "auto" (CUDA, then MPS, then CPU) or a torch device.
        dtype: "auto" (bfloat16 on an accelerator, float32 on the CPU) or one of DTYPES.
        progress: called now and then with a ProgressFrame; an exception it raises (engine.Cancelled) stops loading.

    Raises:
        SourceError, ConfigError, CheckpointError, TokenizerError: the source cannot be used; the sentence says why.
        MemoryShortage: the weights do not fit; nothing was allocated.
        NetworkError, DiskError: a hub id could not be fetched.
    """
    began = time.perf_counter()
    chosen_device = choose_device(device)
    chosen_dtype = choose_dtype(dtype, chosen_device)
    found = resolve(source)
    path = _local_path(found, progress)
    with _built_in_errors(found), open_checkpoint(path) as checkpoint:
        tokenizer = checkpoint.read_tokenizer()
        sampling, complaints = _sampling(checkpoint)
        model, parameters = _decoder(checkpoint, chosen_device, chosen_dtype, _reporter(progress))
    return Loaded(
        config=checkpoint.config,
        tokenizer=tokenizer,
        model=model,
        name=_name(found, path),
        source=found.text,
        stored_as=checkpoint.stored_as,
        parameters=parameters,
        weight_bytes=parameters * chosen_dtype.itemsize,
        seconds=time.perf_counter() - began,
        device=chosen_device,
        dtype=chosen_dtype,
        warnings=(*_warnings(checkpoint), *complaints),
        sampling=sampling,
        identity=checkpoint.identity,
    )


@contextmanager
def _built_in_errors(found: Source) -> Iterator[None]:
    """A model that came with the program is not mended by fetching it again, which is what errors of files advise."""
    try:
        yield
    except (CheckpointError, ConfigError, SourceError, TokenizerError) as error:
        if found.entry is None or not found.entry.built_in:
            raise
        remedy = "It comes with Fluoroscope: install that again, or open another model."
        raise CheckpointError(f"{found.entry.title} cannot be used. {error} {remedy}") from error


def _sampling(checkpoint: Checkpoint) -> tuple[Sampling | None, tuple[str, ...]]:
    """The model's own defaults; what is wrong with them is no reason not to load the model, but is said."""
    try:
        return checkpoint.read_sampling(), ()
    except ConfigError as error:
        return None, (f"The model's own sampling settings are not used: {error}",)


def _warnings(checkpoint: Checkpoint) -> tuple[str, ...]:
    if not checkpoint.unknown:
        return ()
    listed = ", ".join(checkpoint.unknown[:3]) + (", ..." if len(checkpoint.unknown) > 3 else "")
    count = len(checkpoint.unknown)
    tensors = "1 tensor" if count == 1 else f"{count} tensors"
    return (f"The file has {tensors} that this model does not know and does without: {listed}.",)


def choose_device(wanted: str) -> torch.device:
    """The torch device for a name. Raises EngineError where this computer has none of that kind."""
    if wanted == "auto":
        mps = torch.backends.mps.is_available()
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EngineError(f"The device {wanted!r} cannot be used on this computer; choose auto or cpu.") from error
    return device


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """The torch type for a name. Raises EngineError for an unknown one, or one the device cannot compute in."""
    chosen = computing_type(wanted, device.type)
    if device.type == "mps" and chosen == "float64":
        raise EngineError("Apple's GPU cannot compute in float64; choose float32 or the device cpu.")
    return DTYPES[chosen]


def _local_path(found: Source, progress: Progress | None) -> Path:
    """Where the source's files lie on this computer; a hub id is fetched first."""
    if found.path is not None:
        return found.path
    from engine.checkpoint.fetch import cached, fetch

    path = cached(found.text)
    if path is not None:
        return path
    if found.entry is not None:
        raise SourceError(
            f"{found.entry.title} is not in the cache yet; fetch it first: fluoroscope fetch {found.entry.name}."
        )
    return fetch(found.text, progress=progress).path


def _name(found: Source, path: Path) -> str:
    if found.entry is not None:
        return found.entry.title
    if found.hub is not None:
        return str(found.hub)
    return title_of(path)


def _decoder(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, report: Report) -> tuple[Decoder, int]:
    """The decoder with its weights, and how many parameters it has."""
    from engine.model.decoder import Decoder

    with torch.device("meta"), _Unfilled():
        decoder = Decoder(checkpoint.config)
    shapes = {name: tuple(parameter.shape) for name, parameter in decoder.named_parameters()}
    parameters = sum(prod(shape) for shape in shapes.values())
    check_memory(checkpoint.config, parameters, device, dtype)
    decoder.load_state_dict(_state(checkpoint, shapes, device, dtype, report), assign=True, strict=True)
    return decoder.eval().requires_grad_(False), parameters


class _Unfilled(TorchFunctionMode):
    """Skips random initial weights: a meta tensor has none, and asking for them imports sympy, which takes 2 s."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.Tensor.normal_, torch.Tensor.uniform_, torch.nn.init.normal_, torch.nn.init.uniform_):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


def _state(
    checkpoint: Checkpoint,
    shapes: Mapping[str, tuple[int, ...]],
    device: torch.device,
    dtype: torch.dtype,
    report: Report,
) -> dict[str, torch.Tensor]:
    try:
        return fill(shapes, checkpoint.slots, checkpoint.weights, device, dtype, report)
    except torch.OutOfMemoryError as error:
        raise MemoryShortage(f"The memory of {device} ran out while the weights were loaded; free some.") from error


def _reporter(progress: Progress | None) -> Report:
    """Thin the reports out to one in REPORT_EVERY seconds; the first and the last always come."""
    last = -REPORT_EVERY

    def report(tensor: str, done: int, total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if progress is not None and (done == total or now - last >= REPORT_EVERY):
            last = now
            progress(ProgressFrame("load", f"reading {tensor}" if tensor else "weights read", done, total))

    return report
