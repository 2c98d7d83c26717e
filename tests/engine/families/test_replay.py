"""Recomputed equals captured: every hook point of every family, prefill and decode, edited or not, also of positions
whose stream was dropped. Bit for bit where the shapes are the pass's own, else to rounding."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from torch import Tensor

import engine
import engine.stream_store
import engine.trace
from engine.errors import EngineError, HookError
from engine.hooks import HookPoint, Listener
from engine.loading import Loaded
from engine.replay import known, replay, stream_of
from engine.settings import Record
from tests.engine.families.oracle import Oracle, Oracles, build
from tests.engine.families.variants import VARIANTS
from tests.engine.runner import Run

TOKENS = 4
ROUNDING = 1e-5  # of the largest magnitude of a tensor
Seen = dict[str, list[Tensor]]


@contextmanager
def observed(loaded: Loaded, *, lazy: bool) -> Iterator[Seen]:
    """Every tensor that passes a point, pass by pass; lazy ones are formed only where ``lazy``."""
    seen: Seen = {}
    undo = []
    for name, point in loaded.model.points.items():
        keep = partial(_keep, seen, name)
        if not point.info.lazy:
            undo.append(point.observe(keep))
        elif lazy:
            undo.append(point.listen(lambda tensor, point, keep=keep: keep(tensor)))
    try:
        yield seen
    finally:
        for back in undo:
            back()


def _keep(seen: Seen, name: str, tensor: Tensor) -> None:
    seen.setdefault(name, []).append(tensor.clone())


def _run(loaded: Loaded, oracle: Oracle, record: Record | None = None) -> engine.Session:
    session = engine.Session(loaded, engine.Sampling(temperature=0.8, top_k=20, seed=3), record=record or True)
    session.begin(oracle.ids[0].tolist())
    _go_on(session, TOKENS)
    return session


def _go_on(session: engine.Session, tokens: int) -> None:
    """Until there are so many tokens, also behind an end of sequence."""
    while len(session.output) < tokens:
        list(session.steps(tokens - len(session.output)))


def _equal(name: str, ours: Tensor, theirs: Tensor, *, exact: bool) -> None:
    assert ours.shape == theirs.shape, name
    assert ours.dtype == theirs.dtype, name
    if exact or ours.dtype in (torch.int64, torch.bool):
        assert torch.equal(ours, theirs), f"{name} is {(ours - theirs).abs().max()} apart"
        return
    finite = theirs.isfinite()
    assert torch.equal(ours.isfinite(), finite), name
    apart = (ours[finite].double() - theirs[finite].double()).abs()
    scale = float(theirs[finite].abs().max()) if finite.any() else 0.0
    assert not apart.numel() or float(apart.max()) <= ROUNDING * max(scale, 1e-3), f"{name}: {float(apart.max())}"


def _compare(session: engine.Session, seen: Seen) -> int:
    """Every point in every pass, the whole pass at once; returns how many were compared."""
    count = 0
    for index, (start, end) in enumerate(session.trace.spans):
        names = [name for name in seen if "experts." not in name]
        for name, ours in replay(session, names, start, end).items():
            ours = ours[:, -1:] if name.startswith(("ln_final", "hook_logits")) else ours
            _equal(name, ours, seen[name][index], exact=False)
            count += 1
    return count


@pytest.mark.parametrize("lazy", [False, True])
def test_every_point_of_every_pass(oracle: Oracle, loaded: Loaded, lazy: bool) -> None:
    with observed(loaded, lazy=lazy) as seen:
        session = _run(loaded, oracle)
    points = loaded.model.points
    fired = {name for name in points if "experts." not in name and (lazy or not points[name].info.lazy)}
    assert fired == {name for name in seen if "experts." not in name}
    assert _compare(session, seen) == len(fired) * TOKENS


@torch.inference_mode()
def test_experts(oracle: Oracle, loaded: Loaded) -> None:
    """What an expert does with the positions that chose it, of a whole pass and of some of its positions."""
    with observed(loaded, lazy=False) as seen:
        session = _run(loaded, oracle)
    n = len(oracle.ids[0])
    for layer, routing in session.trace.routing.layers.items():
        for expert in range(loaded.config.layers[layer].mlp.n_experts):
            where = (routing.ids[:n] == expert).any(1)
            for point in ("hook_pre", "hook_pre_linear", "hook_post", "hook_out"):
                name = f"blocks.{layer}.mlp.experts.{expert}.{point}"
                whole = replay(session, [name], 0, n)[name]
                assert len(whole) == int(where.sum())
                if len(whole):
                    _equal(name, whole, seen[name][0], exact=False)
                part = replay(session, [name], 5, n - 2)[name]
                _equal(name, part, whole[int(where[:5].sum()) : len(whole) - int(where[n - 2 :].sum())], exact=False)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=some.data())
def test_any_part_of_a_pass(oracle: Oracle, loaded: Loaded, data: some.DataObject) -> None:
    """Some positions of a prefill are what the whole prefill had there."""
    session, seen = _watched(oracle, loaded)
    n = len(oracle.ids[0])
    start = data.draw(some.integers(0, n - 1), "start")
    end = data.draw(some.integers(start + 1, n), "end")
    shapes = {name: loaded.model.hook_points[name].shape for name in seen}
    name = data.draw(some.sampled_from(sorted(name for name, shape in shapes.items() if "pos" in shape)), "name")
    if name.startswith(("ln_final", "hook_logits")):
        return
    theirs = seen[name][0]
    theirs = theirs.narrow(shapes[name].index("pos"), start, end - start)
    if "key" in shapes[name]:
        layer = loaded.config.layers[int(name.split(".")[1])].attention
        theirs = theirs[..., layer.first_seen(start) : end]
    _equal(name, replay(session, [name], start, end)[name], theirs, exact=False)


_WATCHED: dict[str, tuple[engine.Session, Seen]] = {}


def _watched(oracle: Oracle, loaded: Loaded) -> tuple[engine.Session, Seen]:
    if oracle.variant.id not in _WATCHED:
        with observed(loaded, lazy=True) as seen:
            _WATCHED[oracle.variant.id] = _run(loaded, oracle), seen
    return _WATCHED[oracle.variant.id]


# -- edited passes -----------------------------------------------------------------------------------------------


def _edit(scale: float) -> Listener:
    def edit(tensor: Tensor, point: HookPoint) -> Tensor:
        return tensor * scale

    return edit


def _editable(loaded: Loaded, seed: int) -> list[str]:
    """Some points of floating numbers in every part of the pass; not those that only show."""
    points = loaded.model.points
    shown = ("hook_sink", "hook_append", "hook_router_scores", "hook_tokens", "sampler.", "experts.", "hook_scale")
    names = [
        name
        for name, point in points.items()
        if not any(word in name for word in shown) and point.info.dtype in ("activation", "router", "float32")
    ]
    return random.Random(seed).sample(names, 7)


@pytest.mark.parametrize("seed", [1, 2])
def test_edited_passes(oracle: Oracle, loaded: Loaded, seed: int) -> None:
    """Hooks that change tensors, in place during the prefill and one decode pass; then they are gone."""
    names = _editable(loaded, seed)
    session = engine.Session(loaded, engine.Sampling(greedy=True))
    with observed(loaded, lazy=False) as seen:
        with loaded.model.hooks({name: _edit(1.0 + 0.1 * index) for index, name in enumerate(names, 1)}):
            session.begin(oracle.ids[0].tolist())
            _go_on(session, 2)
        _go_on(session, 4)
    with observed(loaded, lazy=False) as plain:
        list(engine.Session(loaded, engine.Sampling(greedy=True)).generate(oracle.ids[0].tolist(), 1))
    assert any(not torch.equal(plain[name][0], seen[name][0]) for name in plain if "experts." not in name)
    # observers were attached before the hooks, so both see what the hooks left
    assert [bool(session.trace.edits(start)) for start, _ in session.trace.spans] == [True, True, False, False]
    _compare(session, seen)


# -- what was let go ---------------------------------------------------------------------------------------------


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (engine.stream_store, engine.trace):
        monkeypatch.setattr(module, "BLOCK", 16)


@pytest.mark.usefixtures("small_blocks")
@torch.inference_mode()
def test_dropped_positions_are_made_again(oracle: Oracle, loaded: Loaded) -> None:
    whole = _run(loaded, oracle)
    session = _run(loaded, oracle, Record(memory=0, beyond="drop"))
    n = session.cache.length
    assert session.trace.use().dropped == n // 16 * 16 - (16 if n % 16 == 0 else 0)
    assert session.trace.source(0, 16) == "recomputed"
    assert session.trace.source(n - 1, n) == "captured"
    for boundary in range(loaded.config.n_layers + 1):
        for start, end in ((0, n), (3, 20), (n - 2, n)):
            again = session.trace.residual(boundary, start, end)
            _equal(f"boundary {boundary}", again, whole.trace.residual(boundary, start, end), exact=False)
    torch.testing.assert_close(session.trace.norm_table(), whole.trace.norm_table())


@pytest.mark.usefixtures("small_blocks")
@torch.inference_mode()
def test_dropped_positions_of_an_edited_pass(oracle: Oracle, loaded: Loaded) -> None:
    hooks = {name: _edit(1.2) for name in _editable(loaded, 5)}
    runs = []
    for record in (Record(), Record(memory=0, beyond="drop")):
        session = engine.Session(loaded, engine.Sampling(greedy=True), record=record)
        with loaded.model.hooks(hooks):
            session.begin(oracle.ids[0].tolist())
            _go_on(session, 2)
        _go_on(session, 3)
        runs.append(session)
    n = runs[0].cache.length
    for boundary in range(loaded.config.n_layers + 1):
        kept, made = (session.trace.residual(boundary, 0, n) for session in runs)
        _equal(f"boundary {boundary}", made, kept, exact=False)


@pytest.mark.usefixtures("small_blocks")
def test_dropped_positions_of_a_run_that_went_on(oracle: Oracle, loaded: Loaded) -> None:
    """The prefill ends inside a block, and decode goes on until windows have let go of it."""
    _made_again_as_kept(loaded, oracle.ids[0].tolist()[:-3])


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", ["mistral-sliding", "llama4_text-default", "mixtral-sliding"])
def test_dropped_positions_of_a_run_that_was_edited_all_along(
    oracles: Oracles, engines: dict[str, Loaded], name: str
) -> None:
    """Each edited pass is repeated whole: the prefill takes more blocks than are kept."""
    oracle = oracles[name]
    loaded = engines.setdefault(name, engine.load(oracle.folder, device="cpu", dtype="float32"))
    with loaded.model.hooks({"blocks.1.hook_attn_out": _edit(1.2), "blocks.2.hook_resid_pre": _edit(0.9)}):
        _made_again_as_kept(loaded, (oracle.ids[0].tolist() * 2)[:75])


@torch.inference_mode()
def _made_again_as_kept(loaded: Loaded, prompt: list[int]) -> None:
    runs, n = [], min(len(prompt) + 40, loaded.config.n_ctx)
    for record in (Record(), Record(memory=0, beyond="drop")):
        session = engine.Session(loaded, engine.Sampling(greedy=True), record=record)
        session.begin(prompt)
        while session.n_read < n:
            list(session.steps(n - session.n_read))
        runs.append(session)
    for boundary in range(loaded.config.n_layers + 1):
        kept, made = (session.trace.residual(boundary, 0, n) for session in runs)
        _equal(f"boundary {boundary}", made, kept, exact=False)


@pytest.mark.usefixtures("small_blocks")
@torch.inference_mode()
def test_a_window_far_back_is_made_block_after_block(tmp_path: Path) -> None:
    """Each dropped block is made of the one before it: so many, one inside the other, would be too deep for Python."""
    variant = VARIANTS["mistral-sliding"]
    longer = replace(variant, config={**variant.config, "max_position_embeddings": 2000, "num_hidden_layers": 1})
    loaded = engine.load(build(longer, tmp_path).folder, device="cpu", dtype="float32")
    prompt = torch.randint(3, 90, (1900,), generator=torch.Generator().manual_seed(0)).tolist()
    whole, session = engine.Session(loaded), engine.Session(loaded, record=Record(memory=0, beyond="drop"))
    for run in (whole, session):
        list(run.generate(prompt, 1))
    _equal("column", session.trace.column(1800), whole.trace.column(1800), exact=False)


@pytest.mark.usefixtures("small_blocks")
@torch.inference_mode()
def test_dropped_positions_of_a_pass_that_stands(oracle: Oracle, loaded: Loaded) -> None:
    """Layer after layer what is recorded so far, made of what is computed so far; and all of it after the pass."""
    prompt, greedy = oracle.ids[0].tolist(), engine.Sampling(greedy=True)
    whole = engine.Session(loaded, greedy)
    list(whole.generate(prompt, 1))
    dropped = Record(memory=0, beyond="drop")
    with Run(loaded, prompt, 1, arm=lambda gate: gate.step("layer"), sampling=greedy, record=dropped) as run:
        for _ in range(loaded.config.n_layers):
            run.stopped()
            _same_stream(run.session, whole)
            run.gate.step("layer")
        run.finish()
    _same_stream(run.session, whole)


def _same_stream(session: engine.Session, whole: engine.Session) -> None:
    assert session.trace.source(0, 1) == "recomputed"
    for boundary, n in enumerate(session.trace.reach):
        made, kept = session.trace.residual(boundary, 0, n), whole.trace.residual(boundary, 0, n)
        _equal(f"boundary {boundary}", made, kept, exact=False)


@pytest.mark.usefixtures("small_blocks")
@torch.inference_mode()
def test_on_disk_is_bit_equal(oracle: Oracle, loaded: Loaded) -> None:
    whole, session = _run(loaded, oracle), _run(loaded, oracle, Record(memory=0, beyond="disk"))
    n = session.cache.length
    assert session.trace.use().disk > 0
    assert session.trace.source(0, n) == "captured"
    for boundary in range(loaded.config.n_layers + 1):
        assert torch.equal(session.trace.residual(boundary, 0, n), whole.trace.residual(boundary, 0, n))


def test_the_stream_from_the_tokens(oracle: Oracle, loaded: Loaded) -> None:
    session = _run(loaded, oracle)
    n = session.cache.length
    recorded = torch.stack([session.trace.residual(b, 0, n) for b in range(loaded.config.n_layers + 1)])
    with torch.inference_mode():
        start = 0
        while start < n:  # in pieces
            made = stream_of(session, start, n)
            _equal("stream", made, recorded[:, start : start + made.shape[1]], exact=False)
            start += made.shape[1]


# -- what cannot be had ------------------------------------------------------------------------------------------


def test_what_is_not_there(oracle: Oracle, loaded: Loaded) -> None:
    session = _run(loaded, oracle)
    n = session.cache.length
    with pytest.raises(HookError, match=r"There is no hook point 'blocks\.0\.hook_nothing'"):
        replay(session, ["blocks.0.hook_nothing"], 0, 1)
    with pytest.raises(EngineError, match="not yet at position"):
        replay(session, ["hook_embed"], n, n + 1)
    with pytest.raises(EngineError, match="several passes"):
        replay(session, ["hook_embed"], n - 2, n)
    with pytest.raises(EngineError, match="middle of a pass"):
        replay(session, ["sampler.hook_token"], 3, 4)
    with pytest.raises(EngineError, match="must lie before"):
        replay(session, ["hook_embed"], 3, 3)
    assert known(session, "blocks.0.attn.hook_q") == n


def test_a_layer_repeated_is_bit_equal(oracle: Oracle, loaded: Loaded) -> None:
    """In the pass's own shapes the repeated layer leaves the very stream that was recorded; where a window has let go
    of keys, they are made again in another shape."""
    session = _run(loaded, oracle)
    for start, end in session.trace.spans:
        for layer, spec in enumerate(loaded.config.layers):
            name = f"blocks.{layer}.hook_resid_post"
            ours, theirs = replay(session, [name], start, end)[name][0], session.trace.residual(layer + 1, start, end)
            kept = session.cache.firsts[layer] <= spec.attention.first_seen(start)
            _equal(f"{name} from {start} on", ours, theirs, exact=kept or start == 0)
