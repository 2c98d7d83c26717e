"""Edits in a saved run: they are kept as data, so that what was edited can be recomputed; hooks and means are not."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import engine
from engine import questions as ask
from engine.edits import Edit
from engine.errors import EngineError, RunFileError
from engine.frames import StepFrame
from engine.loading import Loaded
from engine.replay import replay
from engine.run_file_opening import open_run
from tests.engine.conftest import Pair
from tests.engine.run_files import differences, rewritten, saved, with_facts

PROMPT = [1, 5, 9, 4, 7, 33]
Z, PATTERN = "attn.hook_z", "attn.hook_pattern"
KEPT = [
    Edit("scale", Z, (1,), heads=(2,), value=-1.0, name="turned"),
    Edit("clamp", "mlp.hook_post", (0, 2), high=0.2),
    Edit("copy", "hook_resid_post", (0,), sources=(2,), positions=(8, None), strength=0.5),
    Edit("add", "hook_resid_mid", (2,), token=7, value=0.5, step=2),
    Edit("knock out", PATTERN, (1, 2), keys=(0,)),
    Edit("bias", "hook_logits_final", entries=(4,), value=1.0),
]
NAMES = [
    *(f"blocks.{layer}.{name}" for layer in range(3) for name in (Z, PATTERN, "mlp.hook_post", "hook_resid_post")),
]


def _made(loaded: Loaded, *edits: Edit, tokens: int = 5) -> tuple[engine.Session, list[StepFrame]]:
    session = engine.Session(loaded, engine.Sampling(greedy=True))
    session.set_edits(edits)
    return session, [step.frame() for step in session.generate(PROMPT, tokens)]


def _facts(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as members:
        return json.loads(members.read("run.json"))


def test_what_was_edited_is_recomputed_after_opening(tiny: Pair, tmp_path: Path) -> None:
    """Every pass at the points that were edited and behind them, also of a file that was saved again."""
    session, steps = _made(tiny.loaded, *KEPT)
    path = saved(tmp_path / "run.fluoro", session, steps)
    opened = open_run(path, loaded=tiny.loaded)
    again = open_run(saved(tmp_path / "again.fluoro", opened.session, list(opened.steps)), loaded=tiny.loaded)
    assert [step.edited for step in opened.steps] == [True] * 5
    assert not again.session.edits  # of what comes next the file says nothing
    for start, end in session.trace.spans:
        expected = replay(session, [*NAMES, "hook_logits_final"], start, end)
        for other in (opened, again):
            found = replay(other.session, list(expected), start, end)
            assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert not differences(
        session.answer(ask.AskUntouched(8)), opened.session.answer(ask.AskUntouched(8)), tolerance=1e-5
    )
    row = opened.session.answer(ask.AskAttentionRow(1, 0)).rows
    assert not row.any()  # position 0 was left no key
    opened.session.set_edits(KEPT)
    assert [step.id for step in opened.session.generate(None, 4)] == [step.id for step in session.generate(None, 4)]


def test_edits_that_came_and_went(tiny: Pair, tmp_path: Path) -> None:
    """Passes that were edited alike are told once; each pass gets its own back."""
    session, frames = engine.Session(tiny.loaded, engine.Sampling(greedy=True)), []
    session.begin(PROMPT)
    for edits in ([], KEPT[:1], KEPT[:1], [replace(KEPT[0], strength=0.3)], [], KEPT[:2], KEPT[:2]):
        session.set_edits(edits)
        frames += [step.frame() for step in session.steps(1)]
    path = saved(tmp_path / "run.fluoro", session, frames)
    branch = _facts(path)["branches"][0]
    told = [
        (edited["start"], edited["until"], [point["made_by"] for point in edited["points"]])
        for edited in branch["edits"]
    ]
    assert told == [(6, 8, [[0]]), (8, 9, [[1]]), (10, 12, [[2], [0], [2]])]
    assert [edit["strength"] for edit in branch["interventions"]] == [1.0, 0.3, 1.0]
    opened = open_run(path, loaded=tiny.loaded)
    for start, end in session.trace.spans:
        for name in NAMES:
            assert torch.equal(
                replay(opened.session, [name], start, end)[name], replay(session, [name], start, end)[name]
            )


def test_hooks_and_means_are_not_kept(tiny: Pair, tmp_path: Path) -> None:
    """The layer says so; another layer of the same pass is recomputed with its edits."""
    with tiny.loaded.model.hooks({f"blocks.2.{Z}": lambda tensor, point: tensor * 2}):
        session, steps = _made(tiny.loaded, KEPT[0], Edit("mean", Z, (0,), heads=(1,)))
    opened = open_run(saved(tmp_path / "run.fluoro", session, steps), loaded=tiny.loaded)
    for layer in (0, 2):
        with pytest.raises(
            EngineError, match=rf"changed blocks\.{layer}\.attn\.hook_z in this pass.*does not keep hooks"
        ):
            replay(opened.session, [f"blocks.{layer}.{Z}"], 0, 6)
    name = f"blocks.1.{Z}"
    assert torch.equal(replay(opened.session, [name], 0, 6)[name], replay(session, [name], 0, 6)[name])


def test_a_long_run_edited_in_every_layer_takes_little_room(tiny: Pair, tmp_path: Path) -> None:
    edit = Edit("add", "hook_resid_post", (0, 1, 2), token=3, value=0.1)
    session, steps = _made(tiny.loaded, edit, Edit("ban", "hook_logits_final", entries=(2,)), tokens=200)
    with zipfile.ZipFile(saved(tmp_path / "run.fluoro", session, steps)) as members:
        facts = json.loads(members.read("run.json"))
    assert len(facts["branches"][0]["edits"]) == 1
    assert len(json.dumps(facts["branches"][0]["edits"])) < 1000


@pytest.mark.usefixtures("_no_model")
def test_without_the_model(tiny: Pair, tmp_path: Path) -> None:
    session, steps = _made(tiny.loaded, *KEPT)
    opened = open_run(saved(tmp_path / "run.fluoro", session, steps))
    assert opened.why
    assert [step.edited for step in opened.steps] == [True] * 5
    assert "model" in opened.session.answer(ask.AskPoint(f"blocks.1.{Z}", 3)).sentence


@pytest.fixture
def _no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.run_file_opening.find_model", lambda facts, others: None)


def test_a_file_of_a_program_that_kept_no_edits(tiny: Pair, tmp_path: Path) -> None:
    """It is opened as it always was."""
    session, steps = _made(tiny.loaded, *KEPT, tokens=2)
    path = saved(tmp_path / "run.fluoro", session, steps)

    def older(facts: dict[str, Any]) -> None:
        (branch,) = facts["branches"]
        del branch["interventions"]
        for edited in branch["edits"]:
            del edited["until"]
            for point in edited["points"]:
                del point["made_by"]

    opened = open_run(rewritten(path, tmp_path / "older.fluoro", with_facts(older)), loaded=tiny.loaded)
    with pytest.raises(EngineError, match="does not keep hooks"):
        replay(opened.session, [f"blocks.1.{Z}"], 0, 6)


def _set(*places: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(facts: dict[str, Any]) -> None:
        (at,) = facts["branches"]
        for place in places[:-1]:
            at = at[place]
        at[places[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_set("edits", 0, "points", 0, "made_by", value=[9]), "not at their points"),
        (
            _set("edits", 0, "points", 0, "made_by", value=[-1]),
            "not at their points",
        ),
        (_set("edits", 0, "points", 0, "name", value="blocks.0.hook_mlp_out"), "not at their points"),
        (_set("edits", 0, "until", value=99), "order|read"),
        (_set("interventions", 0, "layers", value=[7]), "do not fit its model"),
        (_set("interventions", 0, "layers", value=[1] * 99), "too many"),
        (_set("interventions", 0, "heads", value=[4]), "do not fit its model"),
        (_set("interventions", 0, "kind", value="explode"), "does not hold what it should"),
        (_set("interventions", 0, "value", value="nan"), "does not hold what it should"),
        (_set("interventions", 0, "more", value=1), "does not hold what it should"),
        (_set("interventions", value=[{}]), "does not hold what it should"),
        (_set("tray", 0, "layers", value=[7]), "do not fit its model"),
        (_set("tray", 0, "layers", value=[1] * 99), "too many"),
        (_set("tray", value=3), "does not hold what it should"),
    ],
)
def test_edits_that_were_tampered_with(
    tiny: Pair, tmp_path: Path, change: Callable[[dict[str, Any]], None], why: str
) -> None:
    session, steps = _made(tiny.loaded, *KEPT, tokens=4)
    path = rewritten(saved(tmp_path / "run.fluoro", session, steps), tmp_path / "bad.fluoro", with_facts(change))
    with pytest.raises(RunFileError, match=f"^bad.fluoro is not a sound run file: .*({why})"):
        open_run(path, loaded=tiny.loaded)


def test_the_tray_is_kept_as_it_was(tiny: Pair, tmp_path: Path) -> None:
    """Also what is off, or a mean, and so not among what passes were made with; without the model, too."""
    session, steps = _made(tiny.loaded, KEPT[0], tokens=4)
    tray = (replace(KEPT[0], on=False, name="mine"), Edit("mean", Z, (0,), heads=(1,)))
    session.set_edits(tray)
    path = saved(tmp_path / "run.fluoro", session, steps)
    opened = open_run(path, loaded=tiny.loaded)
    assert opened.facts.branch.tray == tray
    assert opened.session.edits == (), "nothing is edited before somebody says so"
    session.set_edits(())
    assert open_run(saved(tmp_path / "none.fluoro", session, steps), loaded=tiny.loaded).facts.branch.tray == ()


@pytest.mark.usefixtures("_no_model")
def test_a_run_without_its_model_keeps_its_tray_when_it_is_saved_again(tiny: Pair, tmp_path: Path) -> None:
    session, steps = _made(tiny.loaded, KEPT[0], tokens=4)
    tray = (replace(KEPT[0], on=False),)
    session.set_edits(tray)
    opened = open_run(saved(tmp_path / "run.fluoro", session, steps))
    again = open_run(saved(tmp_path / "again.fluoro", opened.session, list(opened.steps)))
    assert again.facts.branch.tray == tray


def test_a_tray_beyond_what_a_file_holds_is_left_out(
    tiny: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, steps = _made(tiny.loaded, tokens=4)
    session.set_edits([replace(KEPT[0], on=False, name=str(number)) for number in range(5)])
    monkeypatch.setattr("engine.run_file_facts.MOST_EDITS", 4)
    assert open_run(saved(tmp_path / "run.fluoro", session, steps), loaded=tiny.loaded).facts.branch.tray is None


def test_more_than_can_be_made_again(tiny: Pair, tmp_path: Path) -> None:
    def change(facts: dict[str, Any]) -> None:
        (branch,) = facts["branches"]
        branch["edits"][0]["points"][0]["made_by"] *= 600_000

    session, steps = _made(tiny.loaded, *KEPT, tokens=4)
    path = rewritten(saved(tmp_path / "run.fluoro", session, steps), tmp_path / "bad.fluoro", with_facts(change))
    with pytest.raises(RunFileError, match="more edits of its passes than can be made again"):
        open_run(path, loaded=tiny.loaded)


@pytest.mark.parametrize(
    ("limit", "most", "kept"), [("MOST_MADE", 6, [True, True, True, False]), ("MOST_PLACES", 1, [False] * 4)]
)
def test_of_too_many_edits_only_the_first_are_kept(
    tiny: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, most: int, kept: list[bool]
) -> None:
    """What was edited is still known of the others, so that nothing wrong is recomputed."""
    session, steps = _made(tiny.loaded, Edit("scale", Z, (1, 2), value=0.5) if "PLACES" in limit else KEPT[0], tokens=4)
    monkeypatch.setattr("engine.run_file_facts." + limit, most)
    monkeypatch.setattr("engine.run_file_edits.MOST_MADE", most if "MADE" in limit else 100)
    opened = open_run(saved(tmp_path / "run.fluoro", session, steps), loaded=tiny.loaded).session
    for (start, end), known in zip(opened.trace.spans, kept, strict=True):
        if known:
            assert torch.equal(
                *(
                    replay(run, ["blocks.1.attn.hook_z"], start, end)["blocks.1.attn.hook_z"]
                    for run in (opened, session)
                )
            )
        else:
            with pytest.raises(EngineError, match="does not keep hooks"):
                replay(opened, ["blocks.1.hook_attn_out"], start, end)
