"""A run that was opened without its model: what is recorded is answered as a session answers it, the rest refused.

The same answers run over it: where one reaches for the model's weights, ``ModelNeeded`` says which model that is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn

from engine.branched import Branched
from engine.branching import Branching, Looks
from engine.cache import CacheTail, KVCache
from engine.checkpoint.identity import Identity
from engine.config import ModelConfig, MoESpec
from engine.edits import Edit
from engine.errors import ModelNeeded
from engine.frames import Answer, ModelFrame, NeedsModel, Piece
from engine.questions import Question
from engine.settings import Record, Sampling
from engine.trace import Trace

if TYPE_CHECKING:
    from engine.gate import Answering


class Absent:
    """Stands for what is not here: whoever asks for any part of it is told which model is needed."""

    def __init__(self, sentence: str) -> None:
        self._sentence = sentence

    def __getattr__(self, name: str) -> NoReturn:
        raise ModelNeeded(self._sentence)


class AbsentLayer(Absent):
    """A layer without weights; the routers' formulas need none but what is recorded beside their choices."""

    def __init__(self, sentence: str, mlp: nn.Module | None) -> None:
        super().__init__(sentence)
        if mlp is not None:
            self.mlp = mlp


class AbsentModel(Absent):
    """A model of which only the routers are known."""

    def __init__(self, config: ModelConfig, biases: Mapping[int, Tensor], sentence: str) -> None:
        super().__init__(sentence)
        self.layers = [
            AbsentLayer(sentence, _routing_only(spec.mlp, config.d_model, biases.get(layer)))
            for layer, spec in enumerate(config.layers)
        ]


def _routing_only(spec: Any, d_model: int, bias: Tensor | None) -> nn.Module | None:
    """A mixture of experts without experts."""
    if not isinstance(spec, MoESpec):
        return None
    from engine.model.moe import MoE, Router

    moe = MoE.__new__(MoE)
    nn.Module.__init__(moe)
    router = Router.__new__(Router)
    nn.Module.__init__(router)
    moe.spec = router.spec = spec
    moe.router = router
    router.choice_bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
    return moe


class RecordedCache(KVCache):
    """How far a cache reached and what it took; its entries only where they are recorded, else they need the model."""

    def __init__(
        self,
        config: ModelConfig,
        dtype: torch.dtype,
        firsts: Sequence[int],
        length: int,
        allocated: int,
        sentence: str,
        parts: Mapping[int, tuple[Tensor, ...]],
    ) -> None:
        super().__init__(config, dtype=dtype)
        self._allocated, self._sentence, self._stored = allocated, sentence, bool(parts)
        self.restore(firsts, length, parts)

    @property
    def bytes_allocated(self) -> int:
        """Bytes of the buffers when the run was saved."""
        return self._allocated

    def parts(self, layer: int) -> tuple[Tensor, ...]:
        """As in KVCache. Raises ModelNeeded where they are not recorded."""
        if not self._stored:
            raise ModelNeeded(self._sentence)
        return super().parts(layer)

    def parts_at(self, layer: int, length: int) -> tuple[Tensor, ...]:
        """Likewise."""
        if not self._stored:
            raise ModelNeeded(self._sentence)
        return super().parts_at(layer, length)

    def missing(self, length: int | None = None) -> dict[int, tuple[int, int]]:
        """Nothing that could be put back."""
        return {}

    def tail(self, start: int, end: int) -> CacheTail:
        """As in KVCache; where entries are not recorded, their bounds alone."""
        if self._stored:
            return super().tail(start, end)
        return CacheTail(start, end, tuple((min(max(start, first), end), ()) for first in self.firsts))

    def extend(self, tail: CacheTail) -> None:
        """As in KVCache."""
        if self._stored:
            super().extend(tail)
        else:
            self._stand(tail.end)

    def cut(self, length: int) -> None:
        """As in KVCache."""
        if self._stored:
            super().cut(length)
        else:
            self._stand(length)

    def _stand(self, length: int) -> None:
        """With the bounds that a pass leaves."""
        seen = (spec.attention.first_seen(length) for spec in self.config.layers)
        self.restore([min(length, int(first)) for first in seen], length, {})


@dataclass(frozen=True)
class AbsentLoaded:
    """What is known of the model, in the shape of ``engine.loading.Loaded``."""

    frame: ModelFrame
    config: ModelConfig
    identity: Identity
    dtype: torch.dtype
    model: Any
    tokenizer: None = None

    @property
    def device(self) -> torch.device:
        """Where the record lies."""
        return torch.device("cpu")

    def model_frame(self) -> ModelFrame:
        """As it was when the run was saved."""
        return self.frame


class RecordedRun(Branched):
    """Tokens, choices and record of a run, in the shape of a Session. ``why``: which model is needed, a sentence."""

    gate = None
    records, remakes, computing = True, False, False
    edits: tuple[Edit, ...] = ()  # that the file says; it has no passes to come
    watched: Callable[[], Iterable[Question]] | None = None

    def __init__(
        self, loaded: AbsentLoaded, why: str, prompt: Sequence[Piece], sampling: Sampling, record: Record | None = None
    ) -> None:
        super().__init__(piece.id for piece in prompt)
        self.loaded, self.why, self.sampling = loaded, why, sampling
        self.record = record or Record()
        self.trace = Trace(loaded.config, loaded.dtype, loaded.device, self.record)
        self.trace.refill = self._refuse
        self.cache = KVCache(loaded.config, dtype=loaded.dtype)
        self.vocabulary: dict[int, Piece] = {}
        self._pieces = tuple(prompt)
        self._branching = Branching(self, prompt[-1])  # type: ignore[arg-type]  # in the shape of a session

    def __getattr__(self, name: str) -> NoReturn:
        """What else a session has, it has of its model."""
        raise ModelNeeded(self.__dict__.get("why", ""))

    def let_maps_go(self) -> None:
        """There are none: maps are recomputed, which takes the model."""

    @property
    def n_read(self) -> int:
        """Positions that were read by finished passes."""
        return self.cache.length

    @property
    def newest(self) -> int:
        """The newest position that has been read."""
        return max(0, self.n_read - 1)

    def prompt_pieces(self) -> tuple[Piece, ...]:
        """The tokens of the prompt."""
        return self._pieces

    def vocabulary_piece(self, token: int) -> Piece:
        """A token by itself, where the file has its text."""
        return self.vocabulary.get(token, Piece(token, f"⟨{token}⟩", b"", 0, 0))

    def begin(self, prompt: object, *, chat: bool = False) -> tuple[Piece, ...]:
        """Raises ModelNeeded."""
        self._refuse()

    def steps(self, max_new_tokens: int) -> Iterator[Any]:
        """Raises ModelNeeded."""
        self._refuse()

    @contextmanager
    def looking(self, looks: Looks) -> Iterator[None]:
        """Answers keep what they work out in ``looks`` inside a ``with`` block."""
        own = self.expert_adds, self.point_rows
        self.expert_adds, self.point_rows = looks.expert_adds, looks.point_rows
        try:
            yield
        finally:
            looks.expert_adds, looks.point_rows = self.expert_adds, self.point_rows
            self.expert_adds, self.point_rows = own

    def set_record(self, record: Record) -> None:
        """As in Session."""
        self.record = record
        self.trace.set_record(record)

    def answer(self, question: Question) -> Answer:
        """Answer a question; NeedsModel where the record does not."""
        from engine.answers import whole

        return whole(self.answering(question))

    def answering(self, question: Question) -> Answering:
        """The same as a generator that yields between slices of work."""
        from engine.answers import answering

        try:
            return (yield from answering(self, question))  # type: ignore[arg-type]  # in the shape of a session
        except ModelNeeded as error:
            return NeedsModel(str(error))

    def kept_logits(self, position: int) -> None:
        """They are recomputed, which takes the model."""
        return None

    def captured_row(self, *place: object) -> None:
        """No pass is under way that could have left one."""
        return None

    def _refuse(self, *where: object) -> NoReturn:
        raise ModelNeeded(self.why)
