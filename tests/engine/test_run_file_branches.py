"""A file with branches: what is shared is written once, and whatever it says is checked before it is believed.

That branches come back as they were: ``families/test_branch_files.py``.
"""

from __future__ import annotations

import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy
import safetensors.torch
import torch

import engine
import engine.branching
from engine.edits import Edit
from engine.errors import EngineError, ModelNeeded
from engine.frames import StepFrame
from engine.loading import Loaded
from engine.run_file_facts import MOST_BRANCHES, Beside, Compared, Mark
from engine.run_file_opening import open_run
from engine.run_file_saving import save_run, saving
from engine.run_file_tensors import pack, pack_arrays
from engine.settings import Record
from tests.engine.families.test_branches import assert_same, left
from tests.engine.run_files import Kept, kept_run, refused, rewritten, with_facts
from tests.engine.tiny import tiny_llama

PROMPT = [3 + i % 90 for i in range(147)]
N = len(PROMPT)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """A model of three layers whose texts have no end."""
    folder = tmp_path_factory.mktemp("endless")
    tiny_llama(folder, eos_token_id=None, bos_token_id=None, max_position_embeddings=512)
    return engine.load(folder, device="cpu", dtype="float32")


def three_branches(loaded: Loaded) -> Kept:
    """Of 8 tokens and of 6 from the third and the fifth on; it stands on the last one."""
    run = kept_run(loaded, PROMPT, 8)
    for place in (3, 5):
        run.branch(place)
        run.on(8)
        if place == 3:
            run.session.switch(0)
    return run


@pytest.fixture(scope="module")
def sound(loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Branch 1 and the rest of the first one are set aside."""
    return three_branches(loaded).saved(tmp_path_factory.mktemp("run") / "sound.fluoro")


def facts_of(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as members:
        return json.loads(members.read("run.json"))


# ---- what it holds ---------------------------------------------------------------------------------------------------


def test_the_path_is_as_in_a_file_of_one_branch_and_the_rest_is_beside_it(sound: Path) -> None:
    with zipfile.ZipFile(sound) as members:
        names = members.namelist()
    assert names == [
        "run.json",
        "steps.safetensors",
        "stream/000000.safetensors",
        "stream/000001.safetensors",
        "aside/000000.safetensors",
        "aside/000001.safetensors",
    ]
    tree = facts_of(sound)["tree"]
    assert (tree["current"], tree["following"]) == (2, 3)
    assert [(b["number"], b["parent"], b["start"]) for b in tree["branches"]] == [
        (0, None, [N, 0]),
        (1, 0, [N + 3, N + 3]),
        (2, 0, [N + 5, N + 5]),
    ]
    assert [(a["branch"], a["start"], a["end"]) for a in tree["asides"]] == [
        (0, [N + 5, N + 5], [N + 8, N + 7]),
        (1, [N + 3, N + 3], [N + 8, N + 7]),
    ]


def test_what_is_shared_is_written_once(loaded: Loaded, tmp_path: Path) -> None:
    """Three branches that share nine tenths of their tokens."""
    one = kept_run(loaded, PROMPT, 100)
    alone = one.saved(tmp_path / "one.fluoro").stat().st_size
    for _ in range(2):
        one.branch(90)
        one.on(100)
        one.session.switch(0)
    assert len(one.session.tree().branches) == 3
    assert one.saved(tmp_path / "three.fluoro").stat().st_size < 1.25 * alone


def test_a_file_of_one_branch_has_grown_by_little(loaded: Loaded, tmp_path: Path) -> None:
    facts = facts_of(kept_run(loaded, PROMPT, 8).saved(tmp_path / "one.fluoro"))
    assert facts["tree"]["asides"] == []
    assert len(json.dumps(facts["tree"])) < 300


def test_notes_and_what_was_compared_come_back(loaded: Loaded, tmp_path: Path) -> None:
    run, compared = three_branches(loaded), Compared(0, 2, "A − B")
    notes = (Mark("path", N + 6, 1, 0), Mark("aside", N + 7, 2, branch=1), Mark("gone", N + 8, 0, branch=1))
    save_run(tmp_path / "a.fluoro", run.session, run.steps, Beside(notes=notes, compared=compared), others=run.frames)
    facts = open_run(tmp_path / "a.fluoro", loaded=loaded).facts
    assert facts.notes == (*notes[:2], Mark("gone", once=f"token {N + 8}, layer 0"))
    assert facts.tree is not None
    assert facts.tree.compared == compared
    run.session.drop_branch(1)
    compared = Compared(1, 2, "A")
    save_run(tmp_path / "b.fluoro", run.session, run.steps, Beside(notes=notes, compared=compared), others=run.frames)
    facts = open_run(tmp_path / "b.fluoro", loaded=loaded).facts
    assert [note.branch for note in facts.notes] == [None, None, None]
    assert facts.tree is not None
    assert facts.tree.compared is None


def test_edits_of_every_branch_come_back_by_pass(loaded: Loaded, tmp_path: Path) -> None:
    run, edit = kept_run(loaded, PROMPT, 8), Edit("scale", "attn.hook_z", (1,), value=0.5)
    run.branch(3)
    run.session.set_edits([edit])
    run.on(6)
    run.session.set_edits([])
    run.on(8)
    run.session.switch(0)
    opened = open_run(run.saved(tmp_path / "a.fluoro"), loaded=loaded)
    assert opened.facts.branch.interventions == (edit,)
    assert [branch.edited for branch in opened.session.tree().branches] == [False, True]
    opened.session.switch(1)
    assert list(opened.session.trace.applied) == list(run.session.branching_tree.branches[1].tails[0].trace.applied)
    point = engine.questions.AskPoint("blocks.1.attn.hook_z", N + 4)
    run.session.switch(1)
    ours, theirs = opened.session.answer(point), run.session.answer(point)
    torch.testing.assert_close(torch.from_numpy(ours.values), torch.from_numpy(theirs.values), rtol=0, atol=1e-6)


def test_without_the_frames_of_other_branches_it_is_refused(loaded: Loaded, tmp_path: Path) -> None:
    run = three_branches(loaded)
    with pytest.raises(EngineError, match="the frames of their steps were not given"):
        save_run(tmp_path / "a.fluoro", run.session, run.steps)
    assert list(tmp_path.iterdir()) == []


def test_too_many_branches_are_refused(loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = three_branches(loaded)
    monkeypatch.setattr("engine.run_file_saving.MOST_BRANCHES", 2)
    with pytest.raises(EngineError, match="has 3 branches and a file holds 2; drop some of them"):
        run.saved(tmp_path / "a.fluoro")


def test_too_many_parts_are_refused(loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = three_branches(loaded)
    monkeypatch.setattr("engine.run_file_saving.MOST_ASIDES", 1)
    with pytest.raises(EngineError, match="lie in 2 parts and a file holds 1; drop some of them"):
        run.saved(tmp_path / "a.fluoro")
    assert list(tmp_path.iterdir()) == []


def test_a_part_whose_record_is_gone_is_not_saved_again_without_the_model(tmp_path: Path) -> None:
    """Its cache would have to be in the file; the first file had no need of that."""
    tiny_llama(tmp_path, eos_token_id=None, bos_token_id=None, max_position_embeddings=512)
    own = engine.load(tmp_path, device="cpu", dtype="float32")
    run = kept_run(own, list(range(3, 23)), 20, Record(memory=4 * 128 * 32 * 4 * 2, beyond="drop"))
    run.branch(5)
    run.on(380)
    foreign = with_facts(lambda facts: facts["model"]["identity"].update(headers="0" * 64))
    opened = open_run(rewritten(run.saved(tmp_path / "a.fluoro"), tmp_path / "b.fluoro", foreign))
    frames = opened.others | {
        token.number: step for token, step in zip(opened.session.tokens, opened.steps, strict=True)
    }
    opened.session.switch(0)
    steps = [frames[token.number] for token in opened.session.tokens]
    with pytest.raises(ModelNeeded, match="takes the model"):
        save_run(tmp_path / "c.fluoro", opened.session, steps, others=frames)
    assert not (tmp_path / "c.fluoro").exists()


@pytest.mark.parametrize(("dtype", "edited"), [("float32", False), ("float32", True), ("bfloat16", True)])
def test_who_steps_back_token_by_token_leaves_few_parts(tmp_path: Path, dtype: Any, edited: bool) -> None:
    """Over a border of blocks, from a branch that has no token of its own; then every branch is what it was."""
    tiny_llama(tmp_path, eos_token_id=None, bos_token_id=None, max_position_embeddings=512)
    own = engine.load(tmp_path, device="cpu", dtype=dtype)
    run, edit = kept_run(own, PROMPT, 130), Edit("scale", "attn.hook_z", (1,), value=0.5)
    run.session.set_edits([edit] if edited else [])
    run.on(150)
    run.session.set_edits([])
    run.on(160)
    run.branch(158)
    run.session.switch(0)
    whole, applied = left(run.session), dict(run.session.trace.applied)
    for tokens in range(N + 158, N + 3, -1):
        run.session.take_back(tokens)
    tails = run.session.branching_tree.branches[0].tails
    assert [len(tail.tokens) for tail in tails] == [28, 128]
    opened = open_run(run.saved(tmp_path / "a.fluoro"), loaded=own).session
    for session in (run.session, opened):
        session.switch(0)
        assert_same(left(session), whole)
        assert session.trace.applied.keys() == applied.keys()
    assert applied.keys() == (set(range(N + 129, N + 149)) if edited else set())


def test_it_is_saved_as_it_stood_though_the_run_goes_elsewhere(loaded: Loaded, tmp_path: Path) -> None:
    run = three_branches(loaded)
    tree = run.session.tree().branches
    work = saving(run.session, tmp_path / "a.fluoro", run.steps, Beside(), run.frames)
    next(work)
    run.on(12)
    for _ in work:
        pass
    opened = open_run(tmp_path / "a.fluoro", loaded=loaded).session
    assert [branch.pieces for branch in opened.tree().branches] == [branch.pieces for branch in tree]


def test_streams_beyond_the_memory_of_the_record_are_made_again(loaded: Loaded, sound: Path) -> None:
    whole, little = (open_run(sound, loaded=loaded, record=record).session for record in (None, Record(memory=0)))
    asides = [tail for branch in little.branching_tree.branches.values() for tail in branch.tails]
    assert [tail.stream_bytes for tail in asides] == [0, 0]
    for session in (whole, little):
        session.switch(1)
    assert little.trace.source(N + 3, N + 7) == "recomputed"
    ours, theirs = (session.trace.residual(2, N, N + 7) for session in (little, whole))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    for layer in range(3):
        for one, other in zip(little.cache.parts(layer), whole.cache.parts(layer), strict=True):
            assert torch.equal(one, other)


def test_opening_can_be_cancelled_among_the_branches(sound: Path, loaded: Loaded) -> None:
    seen: list[str] = []

    def stop(frame: Any) -> None:
        seen.append(frame.text)
        if "branches" in frame.text:
            raise engine.Cancelled

    with pytest.raises(engine.Cancelled):
        open_run(sound, loaded=loaded, progress=stop)
    assert seen


# ---- what is wrong ---------------------------------------------------------------------------------------------------

Change = Callable[[dict[str, Any]], Any]
TORN = "its branches do not fit together"


def branch(index: int, **values: Any) -> Change:
    return lambda t: t["tree"]["branches"][index].update(values)


def aside(index: int, **values: Any) -> Change:
    return lambda t: t["tree"]["asides"][index].update(values)


def many(count: int) -> Change:
    def change(t: dict[str, Any]) -> None:
        nodes = t["tree"]["branches"]
        t["tree"]["following"] = 10**6
        nodes.extend({**nodes[2], "number": number} for number in range(3, count))

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (branch(1, parent=9), TORN),
        (branch(1, parent=1), TORN),
        (branch(1, parent=2), TORN),  # and so a cycle, with the next
        (lambda t: [branch(1, parent=2)(t), branch(2, parent=1)(t)], TORN),
        (branch(1, parent=None), TORN),
        (branch(1, parent=-1), TORN),
        (branch(0, parent=0), TORN),
        (branch(0, start=[N, N]), TORN),
        (branch(0, start=[N + 1, N]), TORN),
        (branch(0, number=1), TORN),
        (branch(2, number=1), TORN),
        (branch(2, number=2**40), TORN),
        (lambda t: t["tree"].update(branches=[]), TORN),
        (lambda t: t["tree"].update(current=7), TORN),
        (lambda t: t["tree"].update(current=0), TORN),
        (lambda t: t["tree"].update(current=1), TORN),
        (lambda t: t["tree"].update(following=2), TORN),
        (lambda t: t["tree"].update(following=2**31), TORN),
        (branch(1, start=[N + 9, N + 9]), TORN),  # behind the end of its parent
        (branch(1, start=[10**9, 10**9]), TORN),
        (branch(1, start=[3, 3]), TORN),  # inside the prompt
        (branch(1, start=[-5, -5]), TORN),
        (branch(1, start=[N + 3, N + 1]), TORN),
        (branch(1, start=[N + 3, N + 4]), TORN),
        (branch(1, start=[N + 3]), "does not hold what it should"),
        (branch(1, start=None), "does not hold what it should"),
        (aside(0, branch=2), TORN),
        (aside(0, branch=9), TORN),
        (aside(1, branch=0), TORN),  # two that overlap
        (aside(0, start=[N + 4, N + 4]), TORN),  # over the path
        (aside(0, start=[N + 6, N + 6]), TORN),  # a gap
        (aside(0, end=[N + 5, N + 5]), TORN),
        (aside(0, end=[N + 4, N + 3]), TORN),
        (aside(0, end=[N + 8, N + 8]), TORN),
        (aside(0, end=[-1, -1]), TORN),
        (aside(0, end=[513 + 1, 513]), TORN),  # beyond the context
        (aside(0, end=[2**62, 2**62 - 1]), TORN),
        (aside(0, end=[513, 512]), "its table"),  # of which it has no steps
        (aside(0, end=[N + 7, N + 6]), "its table"),
        (lambda t: t["tree"]["asides"].reverse(), "its step 3 does not fit to the one before it"),
        (lambda t: t["tree"]["asides"].pop(), TORN),  # branch 1 would end with its parent's token read
        (lambda t: t["tree"]["asides"].append(t["tree"]["asides"][0]), TORN),
        (lambda t: t.update(tree=None), "does not belong into it"),
        (many(MOST_BRANCHES + 1), "it has more than 1,000 branches"),
        (many(5_000), "it has more than 1,000 branches"),
        (lambda t: t["tree"]["asides"].extend([t["tree"]["asides"][0]] * 5_000), "it has more than 1,000 branches"),
        (lambda t: t["tree"].update(compared={"is": "Compared", "a": 7, "b": None, "side": "A"}), TORN),
        (lambda t: t["tree"].update(compared={"is": "Compared", "a": 0, "b": 1, "side": "C"}), "does not hold"),
        (aside(0, edits=[{"is": "Edited", "start": 3, "points": [], "until": 4}]), "its edits are not at their points"),
        (lambda t: t["notes"].append({**MARK, "position": N + 8, "branch": 1}), "a note in it is about a place"),
        (lambda t: t["notes"].append({**MARK, "position": 3, "branch": 9}), "a note in it is about a place"),
        (lambda t: t["notes"].append({**MARK, "position": 10**9, "branch": 1}), "a note in it is about a place"),
    ],
)  # fmt: skip
def test_trees_that_lie_are_refused(sound: Path, tmp_path: Path, change: Change, words: str) -> None:
    assert words in refused(rewritten(sound, tmp_path / "lies.fluoro", with_facts(change)))


MARK = {"is": "Mark", "text": "x", "position": None, "layer": None, "head": None, "once": "", "branch": None}


STEPS, ASIDE = "steps.safetensors", "aside/000000.safetensors"
STREAM = {"block.0.residual": torch.zeros(4, 2, 32)}  # of that part


def columns(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        arrays = dict(safetensors.numpy.load(data))
        change(arrays)
        return pack_arrays(arrays)

    return changed


def without(name: str) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        return pack({key: tensor for key, tensor in safetensors.torch.load(data).items() if key != name})

    return changed


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        (ASIDE, lambda data: None, "it lacks 'aside/000000.safetensors'"),
        (ASIDE, lambda data: data[:-8], "are damaged"),
        (ASIDE, lambda data: b"\xff" * 8 + data[8:], "are damaged"),
        (ASIDE, lambda data: data + b"\0" * 2**20, "should have at most"),
        (ASIDE, lambda data: pack({**STREAM, "block.0.norms": torch.zeros(10, 3)}), "is F32 of shape [10, 3]"),
        (ASIDE, lambda data: pack(STREAM), "other tensors"),
        (ASIDE, without("block.0.residual"), "other tensors"),  # of which the cache would be made
        (STEPS, columns(lambda a: a.pop("aside.index")), "holds other tables"),
        (STEPS, columns(lambda a: a.pop("aside_firsts")), "holds other tables"),
        (STEPS, columns(lambda a: a.update(aside_firsts=a["aside_firsts"][:-1])), "its table aside_firsts"),
        (STEPS, columns(lambda a: a.update(aside_firsts=a["aside_firsts"] * 0)), "of the cache does not"),
        (STEPS, columns(lambda a: a.update({"aside.index": a["aside.index"] + 1})), "not fit to the one"),
        (STEPS, columns(lambda a: a.update({"aside.start": a["aside.start"] * 0})), "not fit to the one"),
        (STEPS, columns(lambda a: a.update({"aside.end": a["aside.end"] - 10})), "not fit to the one"),
    ],
)  # fmt: skip
def test_parts_that_lie_are_refused(sound: Path, tmp_path: Path, name: str, change: Any, words: str) -> None:
    assert words in refused(rewritten(sound, tmp_path / "lies.fluoro", {name: change}))


def test_a_file_of_the_first_version_has_no_tree(sound: Path, tmp_path: Path, loaded: Loaded) -> None:
    alone = kept_run(loaded, PROMPT, 8).saved(tmp_path / "alone.fluoro")

    def older(table: dict[str, Any]) -> None:
        table["version"] = 1
        del table["tree"]

    opened = open_run(rewritten(alone, tmp_path / "older.fluoro", with_facts(older)), loaded=loaded)
    assert opened.facts.tree is None
    assert len(opened.session.tree().branches) == 1
    opened.session.branch(N + 2, 5)
    assert len(opened.session.tree().branches) == 2


def test_a_thousand_branches_open_at_once(loaded: Loaded, tmp_path: Path, sound: Path) -> None:
    """As many as there may be, of a token each, without the model."""

    def change(t: dict[str, Any]) -> None:
        t["model"].update(source="gone")

    run = kept_run(loaded, PROMPT[:5], 4)
    for index in range(MOST_BRANCHES - 1):
        run.branch(3 - index % 2)
        run.session.switch(0)
    path = rewritten(run.saved(tmp_path / "a.fluoro"), tmp_path / "b.fluoro", with_facts(change))
    began = time.perf_counter()
    opened = open_run(path)
    assert time.perf_counter() - began < 2.0
    assert len(opened.session.tree().branches) == MOST_BRANCHES
    opened.session.switch(737)
    assert opened.session.branch_number == 737


def test_frames_that_were_not_asked_for_do_no_harm(loaded: Loaded, tmp_path: Path) -> None:
    run = three_branches(loaded)
    more: dict[int, StepFrame] = {**run.frames, 10**6: replace(run.steps[0])}
    save_run(tmp_path / "a.fluoro", run.session, run.steps, others=more)
    assert len(open_run(tmp_path / "a.fluoro", loaded=loaded).others) == 8
