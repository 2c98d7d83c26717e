"""A pass that is stopped, cancelled or changed at any of its stages, of every family: nothing else is different after.

Where a pass can stand is read from the table of points, as data; each test goes to every such place, in a prefill and
in a decode pass. Everything happens in one thread: what the gate is told, it is told while the pass stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

import engine
from engine.edits import Edit
from engine.errors import Cancelled
from engine.frames import Where
from engine.gate import StepKind
from engine.hooks import HookPoint, hook_table
from engine.loading import Loaded
from engine.questions import AskCacheState
from tests.engine.families.oracle import Oracle
from tests.engine.families.variants import VARIANTS

Place = tuple[int | None, str]
GREEDY = engine.Sampling(greedy=True)
START: Place = (None, "start")
FIRST_OF_FAMILY = list({each.family: each.id for each in reversed(VARIANTS.values())}.values())
FIRST_OF_KIND = list(
    {(each.family, each.attention, each.cache): each.id for each in reversed(VARIANTS.values())}.values()
)
PASSES = 3  # a prefill, the decode pass that is disturbed, and one behind it


@dataclass
class Left:
    """What passes left: the tokens, the logits they were chosen from, every cached tensor, the recorded stream."""

    tokens: list[int] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)
    kept: list[Tensor] = field(default_factory=list)


def _left(session: engine.Session, logits: list[Tensor]) -> Left:
    return Left(list(session.output), logits, _kept(session))


def _kept(session: engine.Session) -> list[Tensor]:
    """Copies of all that cache and record hold of finished passes."""
    layers, n = range(session.loaded.config.n_layers), session.cache.length
    cached = [part.clone() for layer in layers for part in session.cache.parts(layer)]
    stream = [session.trace.residual(boundary, 0, n).clone() for boundary in (*layers, len(layers))] if n else []
    return [*cached, *stream, session.trace.norm_table().clone()]


def _assert_same(ours: Left, theirs: Left, when: object = "") -> None:
    """Bit for bit."""
    assert ours.tokens == theirs.tokens, when
    assert len(ours.logits) == len(theirs.logits), when
    for one, other in zip((*ours.logits, *ours.kept), (*theirs.logits, *theirs.kept), strict=True):
        assert torch.equal(one, other), when


def _places(loaded: Loaded) -> list[Place]:
    """Where a pass can stand once it has computed something, in its order."""
    return [(info.layer, info.stage) for info in hook_table(loaded.config).values() if info.stage]


def _place(where: Where) -> Place:
    return where.layer, where.stage


@contextmanager
def _stops(session: engine.Session, stop: Callable[[Where], None]) -> Iterator[engine.Gate]:
    """``stop`` is called where the gate stops, from the beginning of the next pass on; stage by stage unless it says
    otherwise."""
    gate = session.gate
    assert gate is not None
    gate.on_stop = stop
    gate.pause()
    yield gate
    gate.on_stop = None
    gate.reset()


def _session(loaded: Loaded, oracle: Oracle) -> engine.Session:
    """With a prompt that is longer than windows."""
    session = engine.Session(loaded, GREEDY, gate=engine.Gate())
    session._eos_ids = frozenset()  # random weights may choose one at any step
    session.begin(oracle.ids[0].tolist())
    return session


def _read(session: engine.Session, passes: int) -> list[Tensor]:
    """So many passes; the logits of each."""
    return [step.logits for step in session.steps(passes)]


def _undisturbed(loaded: Loaded, oracle: Oracle) -> Left:
    session = _session(loaded, oracle)
    return _left(session, _read(session, PASSES))


# -- moving ------------------------------------------------------------------------------------------------------


def test_stepping_is_running(oracle: Oracle, loaded: Loaded) -> None:
    """Whichever way one steps, and with a question at every stop: the answer knows what exists there, and no more."""
    free, places = _undisturbed(loaded, oracle), _places(loaded)
    for kind in (*get_args(StepKind), "run to"):
        session, seen = _session(loaded, oracle), []

        def stop(where: Where, session: Any = session, kind: Any = kind, seen: list[Where] = seen) -> None:
            seen.append(where)
            state = session.gate.ask(AskCacheState())
            state.add_done_callback(lambda done: _check_state(done.result(), where, places))
            target = places[len(seen) * 7 % len(places)]  # now in this pass, now in the next one
            state.add_done_callback(
                lambda done: session.gate.run_to(*target) if kind == "run to" else session.gate.step(kind)
            )

        with _stops(session, stop):
            logits = _read(session, PASSES)
        _assert_same(_left(session, logits), free, kind)
        assert len({(where.step, *_place(where)) for where in seen}) == len(seen), "it stood somewhere twice"
        if kind == "stage":
            assert [_place(where) for where in seen] == [START, *places] * PASSES
        if kind == "run to":
            assert [_place(where) for where in seen[1:]] == [places[n * 7 % len(places)] for n in range(1, len(seen))]


def _check_state(state: Any, where: Where, places: list[Place]) -> None:
    """A layer has a pass's positions from its own stage "cache" on."""
    assert state.committed == where.start
    there = -1 if where.stage == "start" else places.index(_place(where))
    for layer, length in enumerate(state.lengths):
        assert length == (where.end if places.index((layer, "cache")) <= there else where.start), where


# -- cancelling --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("oracle", FIRST_OF_KIND, indirect=True)
@pytest.mark.parametrize("finished", [0, 1], ids=["prefill", "decode"])
def test_a_cancel_at_every_place_leaves_no_trace(oracle: Oracle, loaded: Loaded, finished: int) -> None:
    """One session, cancelled at one place after the other, every second time in a changed pass. Then it goes on."""
    session, free = _session(loaded, oracle), _undisturbed(loaded, oracle)
    logits = _read(session, finished)
    kept, tokens, n = _kept(session), list(session.output), session.cache.length
    for index, target in enumerate([START, *_places(loaded)]):
        with loaded.model.hooks({"blocks.1.hook_resid_pre": _doubled} if index % 2 else {}):
            _cancel_at(session, target)
        assert (session.output, session.cache.length, session.n_read) == (tokens, n, n), target
        assert session.cache.lengths == [n] * loaded.config.n_layers, target
        assert session.trace.reach == [n] * (loaded.config.n_layers + 1), target
        assert not session.trace.applied, target
        assert all(map(torch.equal, _kept(session), kept)), target
    assert not any(point.active for point in loaded.model.points.values())
    logits += _read(session, PASSES - finished)
    _assert_same(_left(session, logits), free)


def _cancel_at(session: engine.Session, target: Place) -> None:
    def stop(where: Where) -> None:
        assert session.gate is not None
        session.gate.cancel() if _place(where) == target else session.gate.step("stage")

    with _stops(session, stop), pytest.raises(Cancelled):
        list(session.steps(1))


def _doubled(tensor: Tensor, point: HookPoint) -> Tensor:
    return tensor * 2


# -- changing ----------------------------------------------------------------------------------------------------

# the first one's tensor is formed in a prefill only where somebody listens
CHANGED = ("blocks.1.attn.hook_pattern", "blocks.1.hook_attn_out")
EDITS = [Edit("scale", name.removeprefix("blocks.1."), (1,), value=0.5) for name in CHANGED]


def _halved(tensor: Tensor, point: HookPoint) -> Tensor:
    return tensor * 0.5


@pytest.mark.parametrize("oracle", FIRST_OF_FAMILY, indirect=True)
def test_a_change_at_every_place_counts_from_there_on(oracle: Oracle, loaded: Loaded) -> None:
    """Two points are edited from a place of the prefill on, up to the same place of the decode pass behind it: each of
    the points is changed in one of the two passes, in the one where it was still to come; as by plain hooks."""
    infos = list(hook_table(loaded.config).values())
    at = {info.name: index for index, info in enumerate(infos) if info.name in CHANGED}
    expected: dict[tuple[bool, ...], Left] = {}
    for index, info in enumerate(infos):
        if info.stage:
            early = tuple(index < at[name] for name in CHANGED)
            if early not in expected:
                expected[early] = _changed_in(loaded, oracle, early)
            place = (info.layer, info.stage)
            _assert_same(_changed_between(loaded, oracle, place), expected[early], place)
    assert len(expected) == 3
    assert len({left.logits[0].sum().item() for left in expected.values()}) > 1  # a norm may take a factor away again


def _changed_in(loaded: Loaded, oracle: Oracle, early: tuple[bool, ...]) -> Left:
    """Each point is changed in the prefill if ``early``, else in the decode pass, from the beginning of the pass on."""
    session, logits = _session(loaded, oracle), []
    for prefill in (True, False):
        names = [name for name, first in zip(CHANGED, early, strict=True) if first == prefill]
        with loaded.model.hooks(dict.fromkeys(names, _halved)):
            logits += _read(session, 1)
    return _left(session, logits)


def _changed_between(loaded: Loaded, oracle: Oracle, place: Place) -> Left:
    session, stood = _session(loaded, oracle), []

    def stop(where: Where) -> None:
        assert session.gate is not None
        session.gate.step("stage")
        if _place(where) == place:
            stood.append(where)
            session.set_edits(EDITS if len(stood) == 1 else [])
        if len(stood) == 2:
            session.gate.resume()

    with _stops(session, stop):
        logits = _read(session, 2)
    assert [where.kind for where in stood] == ["prefill", "decode"]
    return _left(session, logits)
