"""Back over tokens and from branch to branch, of every family: what stands there and what comes then is, bit for bit,
what a run leaves that was never taken anywhere. Caches are made to forget at once, and records to drop or not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from torch import Tensor

import engine
import engine.cache
import engine.stream_store
import engine.trace
from engine.hooks import HookPoint
from engine.loading import Loaded
from engine.settings import Record
from tests.engine.families.oracle import Oracle
from tests.engine.families.variants import VARIANTS

TOKENS = 10
FIRST_OF_FAMILY = list({variant.family: variant.id for variant in reversed(VARIANTS.values())}.values())
FORGETFUL = [v.id for v in VARIANTS.values() if v.cache in ("sliding", "chunked") and v.name != "wide-chunk"]
SAMPLING = engine.Sampling(temperature=0.9, top_k=20, repetition_penalty=1.1, seed=7)
DROPPED = Record(memory=0, beyond="drop")
ON_DISK = Record(memory=0, beyond="disk")


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """No room beyond what a window needs, and blocks of which a short run has several."""

    def make_room(stored: Any, start: int, end: int) -> None:
        needed, stored.end = end - stored.first, start
        stored._move(needed, stored.first)

    monkeypatch.setattr(engine.cache._LayerCache, "_make_room", make_room)
    for module in (engine.trace, engine.stream_store):
        monkeypatch.setattr(module, "BLOCK", 16)


@pytest.fixture
def prompt(oracle: Oracle) -> list[int]:
    return oracle.ids[0].tolist()


def begun(loaded: Loaded, prompt: list[int], **options: Any) -> engine.Session:
    session = engine.Session(loaded, SAMPLING, **options)
    session.begin(prompt)
    return session


def go_on(session: engine.Session, tokens: int) -> list[Tensor]:
    """Until there are so many tokens, also behind an end of sequence; the logits of each."""
    logits = []
    while len(session.output) < tokens:
        for step in session.steps(tokens - len(session.output)):
            logits.append(step.logits.clone())
    return logits


@torch.inference_mode()
def left(session: engine.Session, *, recorded: bool = True) -> dict[str, Any]:
    """All that a run has: tokens, cache, record. Without the stream where that is dropped."""
    trace, cache, layers = session.trace, session.cache, range(session.loaded.config.n_layers)
    found: dict[str, Any] = {
        "tokens": list(session.output),
        "pieces": [token.piece for token in session.tokens],
        "length": (cache.length, cache.firsts, cache.lengths, cache.missing()),
        "spans": trace.spans,
        "norms": trace.norm_table(),
    }
    found |= {f"cache {layer} {i}": part.clone() for layer in layers for i, part in enumerate(cache.parts(layer))}
    if recorded:
        found |= {f"stream {b}": trace.residual(b, 0, cache.length) for b in range(len(layers) + 1)}
    for layer, own in trace.routing.layers.items():
        found |= {f"routing {layer} {name}": rows[: cache.length].clone() for name, rows in own.parts().items()}
    return found


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        same = torch.equal(ours[name], value) if isinstance(value, Tensor) else ours[name] == value
        assert same, name


def assert_same_logits(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs)
    assert all(map(torch.equal, ours, theirs))


@pytest.mark.parametrize("oracle", FIRST_OF_FAMILY, indirect=True)
def test_back_and_on_again(loaded: Loaded, prompt: list[int], oracle: Oracle) -> None:
    assert (_goes_back(loaded, prompt, Record()) > 0) <= (oracle.variant.cache in ("sliding", "chunked"))


@pytest.mark.parametrize("oracle", FORGETFUL, indirect=True)
def test_back_where_the_cache_forgets(loaded: Loaded, prompt: list[int], oracle: Oracle) -> None:
    record = ON_DISK if oracle.variant.family in ("mistral", "llama4_text") else DROPPED
    chunks = {getattr(spec.attention, "chunk", None) for spec in loaded.config.layers} - {None}
    tokens = next((chunk - len(prompt) % chunk + 4 for chunk in chunks), TOKENS)  # into the next chunk
    assert _goes_back(loaded, prompt, record, tokens) > 0


@pytest.mark.parametrize("oracle", ["mistral-sliding", "gpt_oss-default"], indirect=True)
@pytest.mark.parametrize("record", [Record(), DROPPED], ids=["in memory", "dropped"])
def test_back_in_half_the_bits(oracle: Oracle, prompt: list[int], record: Record) -> None:
    loaded = engine.load(oracle.folder, device="cpu", dtype="bfloat16")
    assert _goes_back(loaded, prompt, record) > 0


def _goes_back(loaded: Loaded, prompt: list[int], record: Record, tokens: int = TOKENS) -> int:
    """How many positions were refilled."""
    whole, session, refilled = begun(loaded, prompt, record=record), begun(loaded, prompt, record=record), 0
    logits = go_on(whole, tokens)
    go_on(session, tokens)
    for count in (tokens - 1, tokens - 6, 1, 0):
        refilled += session.take_back(len(prompt) + count)
        assert session.output == whole.output[:count]
        assert session.cache.missing() == {}
        assert session.trace.use().positions == (len(prompt) + count - 1 if count else 0)
        assert_same_logits(go_on(session, tokens), logits[count:])
    recorded = record is not DROPPED
    assert_same(left(session, recorded=recorded), left(whole, recorded=recorded))
    assert len(session.tree().branches) == 1
    return refilled


def forced(loaded: Loaded, prompt: list[int], tokens: dict[int, int], record: Record, n: int) -> Iterator[Any]:
    """A run in which a hook puts tokens where a branch has them: the session, and its logits."""
    session = begun(loaded, prompt, record=record)

    def put(token: Tensor, point: HookPoint) -> Tensor | None:
        chosen = tokens.get(session.n_tokens)
        return None if chosen is None else torch.full_like(token, chosen)

    with loaded.model.points.attached({"sampler.hook_token": put}):
        yield session
        yield go_on(session, n)


def other(session: engine.Session, index: int) -> int:
    """A token that stands not at this index of the output."""
    return (session.output[index] + 5) % session.loaded.config.d_vocab


def test_branches_are_runs_of_their_own(loaded: Loaded, prompt: list[int], oracle: Oracle) -> None:
    assert (_branches(loaded, prompt, Record()) > 0) <= (oracle.variant.cache in ("sliding", "chunked"))


@pytest.mark.parametrize("oracle", FORGETFUL, indirect=True)
def test_branches_where_the_cache_forgets_and_the_record_drops(loaded: Loaded, prompt: list[int]) -> None:
    _branches(loaded, prompt, DROPPED)


def _branches(loaded: Loaded, prompt: list[int], record: Record) -> int:
    """How many positions were refilled."""
    recorded, n = record is not DROPPED, len(prompt)
    whole, session = begun(loaded, prompt, record=record), begun(loaded, prompt, record=record)
    logits = go_on(whole, TOKENS)
    go_on(session, 7)
    first, second = other(session, 3), other(session, 0)
    assert session.branch(n + 3, first) == 1
    assert session.output == [*whole.output[:3], first]
    ours = go_on(session, 7)
    one = forced(loaded, prompt, {n + 3: first}, record, 9)
    alone, theirs = next(one), next(one)
    assert_same_logits(ours, theirs[4:7])
    assert session.branch(n, second) == 2
    ours = go_on(session, 6)
    two = forced(loaded, prompt, {n: second}, record, 6)
    other_run, others = next(two), next(two)
    assert_same_logits(ours, others[1:])
    assert_same(left(session, recorded=recorded), left(other_run, recorded=recorded))
    refilled = session.switch(1)
    assert_same_logits(go_on(session, 9), theirs[7:])
    assert_same(left(session, recorded=recorded), left(alone, recorded=recorded))
    refilled += session.switch(0)
    assert_same_logits(go_on(session, TOKENS), logits[7:])
    assert_same(left(session, recorded=recorded), left(whole, recorded=recorded))
    refilled += session.switch(2)
    assert_same(left(session, recorded=recorded), left(other_run, recorded=recorded))
    return refilled


# -- edited passes -----------------------------------------------------------------------------------------------------

EDITED = ("mistral-sliding", "gemma3_text-default", "llama4_text-default", "mixtral-default", "deepseek_v2-default")


def halved(tensor: Tensor, point: HookPoint) -> Tensor:
    return tensor / 2


def hooks(loaded: Loaded) -> dict[str, Any]:
    latent = loaded.config.layers[0].attention.cached[0].name == "latent"
    return {f"blocks.0.attn.{'hook_kv_latent' if latent else 'hook_v'}": halved, "blocks.1.hook_resid_mid": halved}


@pytest.mark.parametrize("oracle", EDITED, indirect=True)
@pytest.mark.parametrize("record", [Record(), DROPPED], ids=["in memory", "dropped"])
def test_what_edits_left_is_left_again(loaded: Loaded, prompt: list[int], record: Record) -> None:
    """Passes that were edited when they ran are so in what is made of them again, though nothing hooks any more."""
    whole, session = begun(loaded, prompt, record=record), begun(loaded, prompt, record=record)
    for run in (whole, session):
        go_on(run, 2)
        with loaded.model.points.attached(hooks(loaded)):
            go_on(run, 5)
    logits = go_on(whole, TOKENS)
    go_on(session, TOKENS)
    session.take_back(len(prompt) + 6)
    assert_same_logits(go_on(session, TOKENS), logits[1:])
    session.branch(len(prompt) + 4, other(session, 4))
    go_on(session, 6)
    session.switch(0)
    recorded = record is not DROPPED
    assert_same(left(session, recorded=recorded), left(whole, recorded=recorded))
    assert [branch.edited for branch in session.tree().branches] == [True, False]
    assert session.trace.applied.keys() == whole.trace.applied.keys()


# -- anywhere ----------------------------------------------------------------------------------------------------------

moves = some.lists(
    some.tuples(some.sampled_from(["go on", "back", "branch", "switch", "drop"]), some.integers(0, 999)), max_size=12
)


@pytest.mark.parametrize("oracle", ["mistral-sliding", "gemma3_text-default", "mixtral-default"], indirect=True)
@pytest.mark.parametrize("record", [Record(), DROPPED], ids=["in memory", "dropped"])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=moves)
def test_any_way_through_a_tree(
    loaded: Loaded, prompt: list[int], record: Record, moves: list[tuple[str, int]]
) -> None:
    session, n = begun(loaded, prompt, record=record), len(prompt)
    logits: dict[tuple[int, ...], Tensor] = {}  # by the tokens before: the same ones give the same, bit for bit
    paths: dict[int, list[int]] = {}
    go_on(session, 3)
    for move, number in [("go on", 2), *moves, ("go on", 1)]:
        before, at = list(session.output), session.branch_number
        if move == "go on":
            for index, given in enumerate(go_on(session, len(before) + 1 + number % 4), len(before)):
                assert torch.equal(logits.setdefault(tuple(session.output[:index]), given), given)
            assert session.output[: len(before)] == before
        elif move == "back":
            count = number % (len(before) + 1)
            session.take_back(n + count)
            assert session.output == before[:count]
        elif move == "branch" and before:
            index = number % len(before)
            session.branch(n + index, number % 90)
            assert session.output == [*before[:index], number % 90]
        elif move == "switch":
            known = list(paths)
            session.switch(known[number % len(known)] if known else 0)
        elif move == "drop":
            _dropped(session, paths, number)
        if session.branch_number == at and move != "drop":
            paths.pop(at, None)
        else:
            paths.setdefault(at, before)
        numbers = {branch.number for branch in session.tree().branches}
        paths = {key: path for key, path in paths.items() if key in numbers and key != session.branch_number}
        assert numbers == {*paths, session.branch_number}
        _sound(session)
    for key, path in paths.items():
        session.switch(key)
        assert session.output == path
        _sound(session)
        go_on(session, len(path) + 1)


def _dropped(session: engine.Session, paths: dict[int, list[int]], number: int) -> None:
    """A branch that can be."""
    tree = session.tree()
    parents = {branch.parent for branch in tree.branches}
    leaves = [branch.number for branch in tree.branches if branch.number not in parents and branch.parent is not None]
    if leaves:
        session.drop_branch(leaves[number % len(leaves)])


def _sound(session: engine.Session) -> None:
    """Tokens, cache and record are of one length, and the tree tells of this path."""
    tree, n = session.tree(), len(session.prompt)
    assert session.cache.length == (session.n_tokens - 1 if session.output else 0)
    assert session.cache.missing() == {}
    assert session.trace.reach == [session.cache.length] * (session.loaded.config.n_layers + 1)
    assert [token.piece.id for token in session.tokens] == session.output
    facts = {branch.number: branch for branch in tree.branches}
    path, at = [], tree.current
    branch, end = facts[at], None
    while True:
        own = [piece.id for piece in branch.pieces]
        path = (own if end is None else own[: max(0, end - branch.start)]) + path
        if branch.parent is None:
            break
        end, branch = branch.start if end is None else min(end, branch.start), facts[branch.parent]
    assert path == session.output
    with torch.inference_mode():
        assert sum(b.bytes for b in tree.branches) >= session.cache.bytes_of(0, session.n_tokens)
    assert all(b.start >= n for b in tree.branches)
