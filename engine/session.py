"""One run of a model: a prompt, then a step per token. A step is one pass: it reads positions and chooses the next."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from engine import break_checks
from engine.answers import answering, whole
from engine.attention_maps import AttentionMaps
from engine.branched import Branched
from engine.branches import Place, Tail, Token, Tree
from engine.branching import Branching, Looks, log_probability
from engine.cache import KVCache
from engine.edit_listeners import Interventions, Pass
from engine.edits import Edit
from engine.errors import ContextError, EngineError, TokenizerError
from engine.frames import Answer, Finish, Kind, Piece, RecordUse, SamplingFrame, StepFrame, WatchCost
from engine.gate import Answering, Gate
from engine.last_posts import LastPosts
from engine.lens import Readings
from engine.loading import Loaded
from engine.meter import FRAME, RECORD, pass_cost
from engine.questions import SIGNED_STAGES, AskAttentionGrid, AskAttentionMap, Question
from engine.recompute import logits_at
from engine.replay import replay, stream_of
from engine.sampling import Choice, choose
from engine.settings import Record, Sampling
from engine.tokenizer import PieceStream
from engine.trace import Edits, Trace

_MAPS_KEPT = 4  # maps of viewed layers that are followed at once

AskMaps = AskAttentionGrid | AskAttentionMap

_SAMPLER_POINTS = (
    "hook_penalised",
    "hook_tempered",
    "hook_topk_mask",
    "hook_topp_mask",
    "hook_minp_mask",
    "hook_typicalp_mask",
    "hook_probs",
    "hook_token",
)


@dataclass(frozen=True)
class Step:
    """What one pass did: it read positions [start, end) and chose the token at position ``end``.

    ``hooked`` names the points at which hooks were attached: such a pass may not be the plain model's. What they
    replaced is recorded, and is replaced again in what is recomputed. A hook on scores or pattern made its layer attend
    explicitly.
    ``watch`` is what of ``seconds`` went into recording, hooks and answers.
    """

    index: int
    kind: Kind
    start: int
    end: int
    id: int
    piece: Piece
    seconds: float  # of the pass and the choice, less the time spent stopped
    cache_bytes: int
    finish: Finish | None
    hooked: tuple[str, ...]
    record: RecordUse
    watch: WatchCost
    edited: bool  # something was replaced in it
    number: int  # one of its own among the steps of all branches
    _choice: Choice = field(repr=False)
    _session: Session = field(repr=False)
    _trace: Trace = field(repr=False)

    @property
    def position(self) -> int:
        """The position of the chosen token."""
        return self.end

    @property
    def text(self) -> str:
        """The chosen token as text."""
        return self.piece.text

    @property
    def logits(self) -> Tensor:
        """Logits ``[d_vocab]`` the token was chosen from; recomputed from the record once a newer step exists.

        Raises EngineError for a step that was taken back, or is on another branch.
        """
        return self._session.logits_of(self)

    @property
    def sampling(self) -> SamplingFrame:
        """How the token was chosen."""
        return self._choice.frame()

    def frame(self) -> StepFrame:
        """The step as plain data."""
        began, sampling = time.perf_counter(), self.sampling
        candidates = tuple(map(self._session.vocabulary_piece, sampling.ids.tolist()))
        return StepFrame(
            self.index,
            self.kind,
            self.start,
            self.end,
            self.piece,
            sampling,
            candidates,
            self.seconds,
            self.cache_bytes,
            self.finish,
            record=self.record,
            watch=replace(self.watch, parts=(*self.watch.parts, (FRAME, time.perf_counter() - began))),
            edited=self.edited,
        )


class NumberedTokens:
    """Pieces for a model without a tokenizer: a token is its id."""

    def add(self, token: int) -> Piece:
        """The next token as a piece."""
        return Piece(token, f"⟨{token}⟩", b"", 0, 0)

    def go_back(self, last: Piece) -> None:
        """A number depends on nothing before it."""


class Session(Branched):
    """Runs a loaded model on a prompt. One thread uses it; the gate may be used from any.

    Args:
        loaded: what ``engine.load`` returned.
        sampling: how tokens are chosen; if not given, the model's own defaults, else greedy. May be replaced between
            steps.
        gate: pause, step, cancel, questions; none: the run never stops.
        record: keep the residual stream, so that everything can be looked at, within this much memory; False is only
            for measuring.
    """

    remakes = True  # what of its record is let go can be made again

    def __init__(
        self,
        loaded: Loaded,
        sampling: Sampling | None = None,
        gate: Gate | None = None,
        *,
        record: bool | Record = True,
    ) -> None:
        super().__init__()
        self.loaded = loaded
        self.sampling = sampling or loaded.sampling or Sampling(greedy=True)
        self.gate = gate
        self.computing = False  # a pass has begun to compute
        self._stepping = False  # a pass is under way
        self._number = 0  # of the next token
        self._record = record is not False
        self.record = record if isinstance(record, Record) else Record()
        self._newest: tuple[int, Tensor] | None = None  # the last step's index and logits
        self._maps: OrderedDict[AskMaps, AttentionMaps] = OrderedDict()
        self.watched: Callable[[], Iterable[Question]] | None = None  # what somebody wants answered; None: not known
        self._posts: LastPosts | None = None
        self.lens = Readings()  # answers' own
        self._eos_ids = frozenset(loaded.config.eos_token_ids) | frozenset(
            loaded.tokenizer.eos_ids if loaded.tokenizer else ()
        )
        self._vocabulary: dict[int, Piece] = {}
        self._detach: list[Callable[[], None]] = []
        self._interventions = Interventions(self)
        self._pass_end = 0
        self._renew()

    # -- running -------------------------------------------------------------------------------------------------

    def generate(
        self, prompt: str | Sequence[int] | None, max_new_tokens: int = 100, *, chat: bool = False
    ) -> Iterator[Step]:
        """Begin with a prompt (None: go on where the run stands) and yield a step per token.

        Stops at end of sequence, at ``max_new_tokens``, and when the context is full. Raises ContextError,
        TokenizerError, and Cancelled where the gate says so; after that the session can go on.
        """
        if prompt is not None:
            self.begin(prompt, chat=chat)
        return self.steps(max_new_tokens)

    def begin(self, prompt: str | Sequence[int], *, chat: bool = False) -> tuple[Piece, ...]:
        """Take a prompt: text, or token ids. The run before is given up only if this one can begin.

        Raises ContextError for an empty prompt or one longer than the context, TokenizerError for a text that
        cannot be encoded.
        """
        ids = self._encoded(prompt, chat)
        self._check_prompt(ids)
        stream = self._new_stream()
        pieces = tuple(stream.add(i) for i in ids)
        self.prompt, self.output, self.settings, self._stream = ids, [], [], stream
        self._renew(pieces[-1])
        return pieces

    def steps(self, max_new_tokens: int) -> Iterator[Step]:
        """Go on from where the run stands, a step per token."""
        with self._listening():
            for count in range(1, max_new_tokens + 1):
                step = self._step(first=count == 1, last=count == max_new_tokens)
                yield step
                if step.finish is not None:
                    break

    @property
    def records(self) -> bool:
        """Whether the residual stream is kept."""
        return self._record

    @property
    def n_read(self) -> int:
        """Positions read, counting those of a pass under way."""
        return max(self._pass_end, self.cache.length)

    @property
    def newest(self) -> int:
        """The newest position that has been read, or is being read."""
        return max(0, self.n_read - 1)

    # -- back and branches: in the engine's thread, with no pass under way -----------------------------------------

    @torch.inference_mode()
    def take_back(self, n_tokens: int) -> int:
        """Stand where the run stood when it had so many tokens; the prompt stays whole. What comes then, comes as it
        did: the same tokens from the same logits, bit for bit, by the same settings.

        Tokens that other branches share, or that came before this branch began, stay with those: the run goes on as a
        new branch then. Returns how many positions were given back to layers which forget. Raises EngineError for a
        number of tokens that the run has not had, and where the cache cannot be had back.
        """
        return self._moved().take_back(n_tokens)

    @torch.inference_mode()
    def branch(self, position: int, token: int) -> int:
        """Put this token at a position that has a generated one, and stand behind it on a new branch: its number.

        Raises EngineError for a position of the prompt, or without a token, and for an id that the model does not have.
        """
        return self._moved().branch(position, token)

    def token_of(self, text: str) -> int:
        """The token whose text this is. Raises TokenizerError where there is none."""
        if self.loaded.tokenizer is None:
            raise TokenizerError("This model's folder has no tokenizer, so it cannot read text; give a token id.")
        return self.loaded.tokenizer.token_of(text)

    def _moved(self) -> Branching:
        if self._stepping:
            raise EngineError("A pass is under way; it must end or be cancelled before the run can go elsewhere.")
        return self._branching

    # -- what going elsewhere is made of; for ``engine.branching`` ---------------------------------------------------

    def add_token(
        self,
        token: int,
        settings: Sampling,
        log_probability: float,
        *,
        edited: bool = False,
        sampling: SamplingFrame | None = None,
    ) -> Piece:
        """The next token of the output."""
        piece = self._stream.add(token)
        self.output.append(token)
        self.settings.append(settings)
        self.tokens.append(Token(self._number, piece, settings, log_probability, edited, sampling))
        self._number += 1
        return piece

    def cut(self, place: Place, prompt_end: Piece | None) -> None:
        """As in Branched."""
        super().cut(place, prompt_end)
        last = self.tokens[-1].piece if self.tokens else prompt_end
        if last is not None:
            self._stream.go_back(last)
        self._newest, self._pass_end = None, 0

    def extend(self, tail: Tail) -> None:
        """As in Branched."""
        super().extend(tail)
        if tail.tokens:
            self._stream.go_back(tail.tokens[-1].piece)

    def forget(self, length: int) -> None:
        """What answers and edits have worked out of positions from this one on."""
        super().forget(length)
        self._pass_end = 0
        if self._posts is not None:
            self._posts.forget(length)
        self.lens.truncate(length)
        self._interventions.sources.truncate(length)
        for key in [key for key, maps in self._maps.items() if maps.reaches(length)]:
            self._maps.pop(key).leave()

    @contextmanager
    def looking(self, looks: Looks) -> Iterator[None]:
        """Answers keep what they work out in ``looks`` inside a ``with`` block; nothing new follows the passes."""
        own = Looks(self._interventions.sources, self._maps, self._posts, self.expert_adds, self.lens, self.point_rows)
        beside = (self._detach, self._newest, self._pass_end)
        self._detach = []
        self._use(looks)
        try:
            yield
        finally:
            looks.posts, looks.expert_adds, looks.point_rows = self._posts, self.expert_adds, self.point_rows
            self._use(own)
            self._detach, self._newest, self._pass_end = beside

    def _use(self, looks: Looks) -> None:
        self._interventions.sources = looks.sources
        self._maps, self._posts, self.expert_adds = looks.maps, looks.posts, looks.expert_adds
        self.lens, self.point_rows = looks.lens, looks.point_rows

    # -- intervening ---------------------------------------------------------------------------------------------

    @property
    def edits(self) -> tuple[Edit, ...]:
        """What is changed in passes."""
        return self._interventions.edits

    def set_edits(self, edits: Sequence[Edit]) -> None:
        """These edits from now on, in their order; of a pass that stands, what it has computed stays as it is.

        Call in the engine's thread: between two stages of a pass (``gate.do``), or with none under way. Raises
        EngineError where one does not fit the model; then nothing changes.
        """
        self._interventions.set(edits)

    def edits_again(self, made: Pass, points: Mapping[str, Sequence[Edit]]) -> Edits:
        """The listeners of a finished pass whose points (by name) were edited like this: of a run that was saved."""
        return self._interventions.again(made, points)

    # -- looking -------------------------------------------------------------------------------------------------

    def answer(self, question: Question) -> Answer:
        """Answer a question about the run, now. Call in the engine's thread."""
        return whole(answering(self, question))

    def answering(self, question: Question) -> Answering:
        """The same as a generator that yields between slices of work, and can be closed in between."""
        self.let_maps_go()
        return answering(self, question)

    def logits_of(self, step: Step) -> Tensor:
        """Logits ``[d_vocab]`` of a step of this run. Raises EngineError where they are neither kept nor recorded."""
        if step._trace is not self.trace:
            raise EngineError("This step belongs to a run that a newer prompt has replaced; its logits are gone.")
        if step.index >= len(self.tokens) or self.tokens[step.index].number != step.number:
            raise EngineError(
                "This step is not on the branch that the run stands on: it was taken back, or is on another branch; "
                "switch there to see its logits."
            )
        if self._newest is not None and self._newest[0] == step.index:
            return self._newest[1]
        if not self._record:
            raise EngineError("Without a record only the newest step has logits; make the session with record=True.")
        if self.trace.edits(step.end - 1):
            return replay(self, ["hook_logits_final"], step.end - 1, step.end)["hook_logits_final"][0, 0]
        return logits_at(self.loaded.model, self.trace, step.end - 1)

    def ids(self, start: int, end: int) -> Tensor:
        """Token ids ``[1, end - start]`` of positions [start, end), on the model's device."""
        return torch.tensor([(self.prompt + self.output)[start:end]], device=self.loaded.device)

    def set_record(self, record: Record) -> None:
        """Another limit of memory for the record, from now on. Call in the engine's thread, between two operations."""
        self.record = record
        with torch.inference_mode():
            self.trace.set_record(record)

    def kept_logits(self, position: int) -> Tensor | None:
        """Logits ``[d_vocab]`` of the newest step, where it read this position last: those are as the pass had them."""
        if self._newest is None or self._newest[0] >= len(self.trace.spans):
            return None
        index, logits = self._newest
        return logits if self.trace.spans[index][1] == position + 1 else None

    def vocabulary_piece(self, token: int) -> Piece:
        """A token of the vocabulary by itself, not as part of the text."""
        if token not in self._vocabulary:  # 64 candidates a step, mostly the same ones
            tokenizer = self.loaded.tokenizer
            self._vocabulary[token] = NumberedTokens().add(token) if tokenizer is None else tokenizer.piece(token)
        return self._vocabulary[token]

    def maps(self, question: AskMaps) -> AttentionMaps:
        """The attention maps that are kept for a question, followed from now on; the least recently used are let go."""
        self._reduce_to(question)
        if question not in self._maps:
            self._keep(question, self._new_maps(question))
        self._maps.move_to_end(question)
        while len(self._maps) > _MAPS_KEPT:
            self._maps.popitem(last=False)[1].leave()
        return self._maps[question]

    @property
    def kept_maps(self) -> tuple[AskMaps, ...]:
        """The questions that attention maps are kept for."""
        return tuple(self._maps)

    def let_maps_go(self) -> None:
        """Drop the attention maps that nobody watches any more, by ``watched``; no pass captures rows for them."""
        if self.watched is not None and self._maps:
            wanted = set(self.watched())
            for question in wanted:
                self._reduce_to(question)
            for question in [question for question in self._maps if question not in wanted]:
                self._maps.pop(question).leave()

    def captured_row(self, layer: int, position: int) -> Tensor | None:
        """The pattern row ``[n_heads, position + 1]`` of the last decode pass, if that layer was being watched."""
        for question, maps in self._maps.items():
            if question.layer == layer and maps.row is not None and maps.row.shape[1] == position + 1:
                return maps.row
        return None

    def posts(self) -> LastPosts:
        """What the neurons of the last pass gave, followed from now on."""
        if self._posts is None:
            self._posts = LastPosts(self.loaded.config)
            if self._detach:
                self._posts.follow(self.loaded.model.points, lambda: self.newest)
        return self._posts

    # -- one pass ------------------------------------------------------------------------------------------------

    def _step(self, *, first: bool, last: bool) -> Step:
        began, waited = time.perf_counter(), self._waited
        start, end, index = self.cache.length, self.n_tokens, len(self.output)
        kind: Kind = "prefill" if index == 0 else "decode"
        meter = self.loaded.model.points.meter
        meter.take()  # what was measured between passes is not this one's
        self.let_maps_go()
        with torch.inference_mode():
            self._branching.refill()
        self._stepping = True
        try:
            self._take_hold()
            with self._interventions.during(Pass(index, start, end)):
                choice, token = self._pass(index, kind, start, end, first)
                hooked = self.loaded.model.points.hooked
        except BaseException:
            self._roll_back(start)
            raise
        finally:
            self._stepping = self.computing = False
        edited = self.loaded.model.points.replaced
        piece = self.add_token(token, choice.settings, choice.log_probability, edited=edited)
        seconds = time.perf_counter() - began - (self._waited - waited)
        return Step(
            index=index,
            kind=kind,
            start=start,
            end=end,
            id=token,
            piece=piece,
            seconds=seconds,
            cache_bytes=self.cache.bytes_now,
            finish=self.finish(token, end, last),
            hooked=hooked,
            record=self.trace.use(),
            watch=pass_cost(seconds, meter.take()),
            edited=edited,
            number=self.tokens[-1].number,
            _choice=choice,
            _session=self,
            _trace=self.trace,
        )

    @torch.inference_mode()
    def _pass(self, index: int, kind: Kind, start: int, end: int, first: bool) -> tuple[Choice, int]:
        meter = self.loaded.model.points.meter
        if self.gate is not None:
            self.gate.meter = meter
            self.gate.begin_pass(index, kind, start, end, self.answering, first=first)
        self.computing = True
        ids, applied = self.ids(start, end), self.loaded.model.points.begin_pass()
        if self._record:
            with meter.time(RECORD):
                self.trace.begin_pass(start, end, applied)
            self._pass_end = end
        logits = self.loaded.model(ids, self.cache, logits="last")[0, -1]
        points = self.loaded.model.points
        listened = {name: points[f"sampler.{name}"] for name in _SAMPLER_POINTS if points[f"sampler.{name}"].active}
        choice = choose(
            logits, prompt=self.prompt, output=self.output, position=end, settings=self.sampling, points=listened
        )
        token = choice.token_id()
        if self._record:
            with meter.time(RECORD):
                self.trace.end_pass()
        self._newest = (index, logits)
        return choice, token

    @property
    def _waited(self) -> float:
        """Seconds spent stopped in the gate so far: they are not the pass's."""
        return 0.0 if self.gate is None else self.gate.waited

    def finish(self, token: int, end: int, last: bool = False) -> Finish | None:
        """Why a run ends with a token at position ``end``; None: it goes on."""
        if token in self._eos_ids:
            return "end of sequence"
        if end >= self.loaded.config.n_ctx:
            return "full context"
        return "limit" if last else None

    def _roll_back(self, length: int) -> None:
        """A pass that did not finish leaves no trace."""
        self.cache.truncate(length)
        self.trace.truncate(length)
        self.forget(length)

    # -- listening -----------------------------------------------------------------------------------------------

    @contextmanager
    def _listening(self) -> Iterator[None]:
        """Recorder, gate and followed maps hang on the model's points only while this run moves."""
        try:
            yield
        except BaseException:
            if self.gate is not None:
                self.gate.drop()
            raise
        else:
            if self.gate is not None:
                self.gate.serve(self.answering)
        finally:
            self._let_go()
            if self.gate is not None:
                self.gate.end_pass()

    def _take_hold(self) -> None:
        """A model's passes belong to one run at a time: where two take turns, each hangs on for its own step."""
        points = self.loaded.model.points
        if points.tenant is not None and points.tenant != self._let_go:
            points.tenant()
        if not self._detach:
            self._detach, points.tenant = self._attach(), self._let_go

    def _let_go(self) -> None:
        points = self.loaded.model.points
        if points.tenant == self._let_go:
            points.tenant = None
        for undo in self._detach:
            undo()
        self._detach = []
        for maps in self._maps.values():
            maps.leave()
        if self._posts is not None:
            self._posts.leave()

    def _attach(self) -> list[Callable[[], None]]:
        points = self.loaded.model.points
        detach = self.trace.attach(points) if self._record else []
        if self.gate is not None:
            stages = [point for point in points.values() if point.info.stage]
            for point in stages:
                point.stop_at(self.gate.arrive)
                detach.append(partial(point.stop_at, None))
            detach.append(self.gate.look_out(partial(break_checks.attach, self)))
        for question in self._maps:
            self._follow(question)
        if self._posts is not None:
            self._posts.follow(points, lambda: self.newest)
        return detach

    def _new_maps(self, question: AskMaps) -> AttentionMaps:
        n_heads = self.loaded.config.layers[question.layer].attention.n_heads
        if isinstance(question, AskAttentionGrid):
            return AttentionMaps(n_heads, None, question.most, self.loaded.device)
        signed = question.stage in SIGNED_STAGES
        return AttentionMaps(
            n_heads,
            question.head,
            question.most,
            self.loaded.device,
            rows=question.rows,
            columns=question.columns,
            signed=signed,
        )

    def _reduce_to(self, question: Question) -> None:
        """Of a map that is kept, a coarser one is made: reducing loses nothing, computing it again may take long."""
        if question in self._maps or not isinstance(question, AskMaps):
            return
        for kept, maps in self._maps.items():
            if kept.most > question.most and replace(kept, most=question.most) == question:
                self._keep(question, maps.coarser(question.most))
                return

    def _keep(self, question: AskMaps, maps: AttentionMaps) -> None:
        self._maps[question] = maps
        if self._detach:
            self._follow(question)

    def _follow(self, question: AskMaps) -> None:
        """A pass forms patterns; rows of other stages are recomputed when they are asked for."""
        if isinstance(question, AskAttentionGrid) or question.stage == "pattern":
            layer = question.layer
            point = self.loaded.model.points[f"blocks.{layer}.attn.hook_pattern"]
            self._maps[question].follow(point, lambda: self.cache.lengths[layer])

    def _new_stream(self) -> PieceStream | NumberedTokens:
        return NumberedTokens() if self.loaded.tokenizer is None else PieceStream(self.loaded.tokenizer)

    # -- a saved run ---------------------------------------------------------------------------------------------

    def prompt_pieces(self) -> tuple[Piece, ...]:
        """The tokens of the prompt as pieces."""
        stream = self._new_stream()
        return tuple(stream.add(token) for token in self.prompt)

    def check_room(self) -> None:
        """Raises ContextError where the context is full, so that the run cannot go on."""
        self.cache.check(self.n_tokens)

    def take_up(self, prompt: Sequence[int], steps: Sequence[StepFrame], settings: Sequence[Sampling]) -> None:
        """Stand where a saved run ended, with nothing in record and cache yet: ``engine.run_file_opening`` fills them.

        ``settings``: by which each token of the output was chosen.
        """
        stream = self._new_stream()
        pieces = [stream.add(token) for token in prompt]
        self.prompt, self.output, self.settings, self._stream = list(prompt), [], [], stream
        self._renew(pieces[-1])
        for step, own in zip(steps, settings, strict=True):
            by_hand = step.sampling if step.sampling.by_hand else None
            self.add_token(step.piece.id, own, log_probability(step.sampling), edited=step.edited, sampling=by_hand)

    def take_branches(self, tree: Tree) -> None:
        """Behind ``take_up``, as in Branched."""
        super().take_branches(tree)
        self._number = 1 + max(self.known_tokens(), default=-1)

    # -- beginning -----------------------------------------------------------------------------------------------

    def _renew(self, prompt_end: Piece | None = None) -> None:
        model, config = self.loaded.model, self.loaded.config
        dtype, device = model.embed.weight.dtype, self.loaded.device
        self.cache = KVCache(config, dtype=dtype, device=device)
        self.trace = Trace(config, dtype, device, self.record)
        self.trace.refill = partial(stream_of, self)
        self._newest, self._pass_end = None, 0
        self.tokens, self._branching = [], Branching(self, prompt_end)
        self._let_go()
        self._maps.clear()
        self._posts = None
        self.expert_adds = {}
        self.lens = Readings()
        self._interventions.sources.truncate(0)
        self.point_rows = None

    def _encoded(self, prompt: str | Sequence[int], chat: bool) -> list[int]:
        if not isinstance(prompt, str):
            return [int(i) for i in prompt]
        tokenizer = self.loaded.tokenizer
        if tokenizer is None:
            raise TokenizerError("This model's folder has no tokenizer, so it cannot read text; give token ids.")
        if (chat and not prompt.strip()) or not prompt:
            raise ContextError("The prompt is empty; type some text for the model to go on from.")
        if chat:
            text = tokenizer.chat([{"role": "user", "content": prompt}])
            return tokenizer.encode(text, special=False)
        return tokenizer.encode(prompt)

    def _check_prompt(self, ids: list[int]) -> None:
        config = self.loaded.config
        if not ids:
            raise ContextError("The prompt is empty; type some text for the model to go on from.")
        if len(ids) > config.n_ctx:
            raise ContextError(
                f"The prompt has {len(ids):,} tokens and this model's context holds {config.n_ctx:,}; shorten it."
            )
        wrong = [i for i in ids if not 0 <= i < config.d_vocab]
        if wrong:
            raise ContextError(f"The token id {wrong[0]} is not in this model's vocabulary of {config.d_vocab:,}.")
