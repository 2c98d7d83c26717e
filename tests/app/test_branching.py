"""Back, branches and the comparison of two in the real window, with the engine beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt

from app.branching import Branching
from app.command_line import Options
from app.compare import Comparison
from app.compare_arrays import ONLY_B
from app.panels import PANELS
from app.window import Window
from engine.frames import BackFrame, EndFrame, ErrorFrame, StepFrame, SwitchedFrame, TreeFrame
from tests.app.conftest import GREEDY, MakeWindow, slow_passes
from tests.app.kinds import KindsOnDisk

PROMPT = "The capital of France"


class Driver:
    """A window with a model, and what the user does to it."""

    def __init__(self, window: Window, qtbot: Any) -> None:
        self.window, self.qtbot = window, qtbot
        self.frames: list[object] = []
        window.received.connect(self.frames.append)

    @property
    def run(self) -> Any:
        return self.window.context.run

    @property
    def branching(self) -> Branching:
        return self.window.branching

    def panel(self, key: str) -> Any:
        return self.window.workspace.docks[key].panel

    def bring_up(self, key: str) -> Any:
        self.window.workspace.bring_up(key)
        self.qtbot.waitUntil(lambda: self.window.workspace.docks[key].shown, timeout=5_000)
        return self.panel(key)

    def trigger(self, name: str) -> None:
        action = self.window.actions_by_name[name]
        assert action.isEnabled(), name
        action.trigger()

    def ends(self, name: str) -> list[int]:
        """Trigger a command that makes tokens, and wait until it has; the ids of the run then."""
        self.until(EndFrame, lambda: self.trigger(name))
        return self.ids()

    def ids(self) -> list[int]:
        return [step.piece.id for step in self.run.steps]

    def until(self, kind: type, act: Any) -> Any:
        """Act, and wait for a frame of a kind and for the tree after it."""
        before = len(self.frames)
        act()
        self.qtbot.waitUntil(lambda: any(isinstance(f, kind) for f in self.frames[before:]), timeout=30_000)
        if kind in (BackFrame, SwitchedFrame):
            self.qtbot.waitUntil(lambda: any(isinstance(f, TreeFrame) for f in self.frames[before:]), timeout=30_000)
        return next(f for f in self.frames[before:] if isinstance(f, kind))

    def settle(self) -> None:
        self.qtbot.waitUntil(lambda: self.window.board.complete, timeout=30_000)

    def errors(self) -> list[str]:
        return [frame.sentence for frame in self.frames if isinstance(frame, ErrorFrame)]


@pytest.fixture
def driver(make_window: MakeWindow, qtbot: Any, tiny_model: Path) -> Driver:
    options = Options(model=str(tiny_model), sampling=GREEDY, tokens=6, size=(1600, 900), layout="focus")
    made = Driver(make_window(options, panels=PANELS, start=True), qtbot)
    qtbot.waitUntil(lambda: made.run.model is not None, timeout=60_000)
    made.window.bar.prompt.setPlainText(PROMPT)
    return made


def other_candidate(driver: Driver, rank: int = 1) -> tuple[int, int]:
    """The row and the id of a token that was not chosen."""
    rows = [(row, item) for row, item in enumerate(driver.panel("sampling")._table.rows) if not item.chosen]
    return rows[rank][0], rows[rank][1].id


def branched(driver: Driver, position: int, rank: int = 1) -> int:
    """A branch with another token at a position of the present one; the id that stands there now."""
    driver.branching.choose_at(position)
    row, token = other_candidate(driver, rank)
    driver.panel("sampling")._table.pick(row)
    driver.until(SwitchedFrame, driver.panel("sampling")._choice.button.click)
    return token


def test_a_token_back_and_on_again_are_the_same_tokens(driver: Driver) -> None:
    assert not driver.window.actions_by_name["step_back"].isEnabled()
    first = driver.ends("run")
    steps = driver.run.steps
    driver.window.context.cursor.pin(position=driver.run.n_tokens - 1)
    driver.until(BackFrame, lambda: driver.trigger("step_back"))
    assert driver.ids() == first[:-1]
    assert driver.run.steps is not steps, "another run for panels"
    assert driver.window.context.cursor.pinned.position is None, "what was pinned is not there any more"
    driver.until(BackFrame, lambda: driver.branching.back_to(driver.run.n_prompt + 2))
    assert driver.ids() == first[:2]
    again = driver.ends("go_on")
    assert again[:6] == first
    assert driver.errors() == []


def test_all_tokens_back_leave_the_prompt(driver: Driver) -> None:
    first = driver.ends("run")
    frame = driver.until(BackFrame, lambda: driver.branching.back_to(0))
    assert frame.n_tokens == driver.run.n_prompt
    assert driver.ids() == []
    assert driver.ends("go_on") == first
    assert driver.errors() == []


def test_a_candidate_begins_a_branch_and_both_go_on(driver: Driver) -> None:
    first = driver.ends("run")
    position = driver.run.n_prompt + 2
    token = branched(driver, position)
    assert driver.ids() == [*first[:2], token]
    assert [branch.start for branch in driver.run.tree.branches] == [driver.run.n_prompt, position]
    assert driver.run.tree.current == driver.run.tree.branches[1].number
    tree = driver.bring_up("branches").tree
    assert tree.number == driver.run.tree.current
    longer = driver.ends("go_on")
    assert longer[:3] == [*first[:2], token]
    assert len(longer) == 9
    driver.until(SwitchedFrame, lambda: tree.asked.emit("switch", driver.run.tree.branches[0].number))
    assert driver.ids() == first
    driver.until(SwitchedFrame, lambda: tree.asked.emit("switch", driver.run.tree.branches[1].number))
    assert driver.ids() == longer
    driver.until(TreeFrame, lambda: tree.asked.emit("drop", driver.run.tree.branches[1].number))
    driver.qtbot.waitUntil(lambda: driver.ids() == first, timeout=5_000)
    assert len(driver.run.tree.branches) == 1
    assert driver.errors() == []


def test_a_full_branch_does_not_go_on_and_a_shorter_one_does(driver: Driver) -> None:
    n_ctx = driver.run.model.n_ctx
    driver.window.bar.prompt.setPlainText("ab" * (n_ctx // 2 - 1))
    driver.ends("run")
    assert driver.run.n_tokens == n_ctx + 1
    branched(driver, n_ctx - 1)
    assert driver.branching.stands
    driver.until(SwitchedFrame, lambda: driver.branching.switch(0))
    assert not driver.branching.stands
    assert driver.window.actions_by_name["run"].text() == "&Run"
    assert driver.errors() == []
    driver.until(ErrorFrame, lambda: driver.trigger("go_on"))
    assert "context" in driver.errors()[0]
    assert driver.window.status.state.text() == "ended: full context"


def test_a_typed_token_begins_a_branch_or_is_refused_in_a_sentence(driver: Driver) -> None:
    first = driver.ends("run")
    driver.trigger("branch")
    choice = driver.panel("sampling")._choice
    driver.qtbot.waitUntil(choice.field.hasFocus, timeout=5_000)
    driver.qtbot.keyClicks(choice.field, "two")
    driver.until(ErrorFrame, lambda: driver.qtbot.keyClick(choice.field, Qt.Key.Key_Return))
    assert "two" in driver.errors()[0]
    assert driver.ids() == first
    choice.clear()
    letter = "Z" if driver.run.steps[-1].piece.text != "Z" else "Q"
    driver.qtbot.keyClicks(choice.field, letter)
    driver.until(SwitchedFrame, lambda: driver.qtbot.keyClick(choice.field, Qt.Key.Key_Return))
    assert driver.run.steps[-1].piece.text == letter
    assert driver.ids()[:-1] == first[:-1]
    assert "by hand" in driver.panel("sampling")._sentence.text()


def test_the_token_that_stands_there_is_no_branch(driver: Driver) -> None:
    driver.ends("run")
    driver.branching.choose_at(driver.run.n_prompt)
    said: list[str] = []
    driver.window.context.cursor.readout_changed.connect(said.append)
    table = driver.panel("sampling")._table
    chosen = next(row for row, item in enumerate(table.rows) if item.chosen)
    table.pick(chosen)
    driver.qtbot.keyClick(table, Qt.Key.Key_Return)
    assert "stands there already" in said[-1]
    assert driver.run.tree is None or len(driver.run.tree.branches) == 1


def test_the_strip_offers_another_token_and_back(driver: Driver) -> None:
    first = driver.ends("run")
    strip, n_prompt = driver.window.strip, driver.run.n_prompt
    of_prompt = {action.text(): action for action in strip.menu(0).actions()}
    assert not of_prompt["Another token here…"].isEnabled()
    of_prompt["Another token here…"].parent().deleteLater()
    menu = strip.menu(n_prompt + 1)
    actions = {action.text(): action for action in menu.actions()}
    actions["Another token here…"].trigger()
    assert driver.window.context.cursor.pinned.position == n_prompt + 1
    driver.qtbot.waitUntil(driver.panel("sampling")._choice.field.hasFocus, timeout=5_000)
    driver.until(BackFrame, actions["Step back to here"].trigger)
    menu.deleteLater()
    assert driver.ids() == first[:2]


def test_back_inside_a_stopped_pass_stands_before_a_pass_again(driver: Driver) -> None:
    driver.window.actions_by_name["step_token"].trigger()
    driver.qtbot.waitUntil(lambda: driver.window.situation().state == "paused", timeout=30_000)
    for _ in range(2):
        driver.until(StepFrame, lambda: driver.trigger("step_token"))
    driver.trigger("step_layer")
    driver.qtbot.waitUntil(lambda: driver.run.where.layer is not None, timeout=5_000)
    ids = driver.ids()
    driver.until(BackFrame, lambda: driver.trigger("step_back"))
    driver.qtbot.waitUntil(lambda: driver.window.situation().state == "paused", timeout=5_000)
    assert driver.ids() == ids[:-1]
    driver.trigger("run")
    driver.qtbot.waitUntil(lambda: driver.run.ended is not None, timeout=30_000)
    assert driver.ids()[: len(ids)] == ids
    assert driver.errors() == []


def test_a_branch_of_a_running_run_runs_on(driver: Driver) -> None:
    slow_passes(driver.window, 0.05)
    driver.window.bar.tokens.setValue(30)
    driver.trigger("run")
    driver.qtbot.waitUntil(lambda: len(driver.run.steps) > 4, timeout=30_000)
    position = driver.run.n_prompt + 1
    other = 7 if driver.run.steps[1].piece.id != 7 else 8
    driver.until(SwitchedFrame, lambda: driver.branching.branch_at(position, other))
    assert driver.run.steps[1].piece.id == other
    driver.qtbot.waitUntil(lambda: driver.run.ended is not None, timeout=60_000)
    assert driver.ids()[1] == other
    assert len(driver.ids()) > 4
    assert driver.errors() == []


def compared(driver: Driver) -> tuple[int, int]:
    """Two branches that part after the second token, pinned as A and B: their numbers."""
    driver.ends("run")
    branched(driver, driver.run.n_prompt + 2)
    driver.ends("go_on")
    a, b = (branch.number for branch in driver.run.tree.branches)
    tree = driver.bring_up("branches").tree
    tree.asked.emit("A", a)
    tree.asked.emit("B", b)
    assert driver.window.compare_bar.isVisible()
    assert driver.window.context.comparison == Comparison(a, b, "B")
    return a, b


def answered(driver: Driver, question: Any, number: int) -> Any:
    """What the session itself says about a branch, with the engine at rest."""
    session = driver.window.worker._session
    assert session is not None
    import torch

    from engine.answers import whole

    with torch.inference_mode():
        return whole(session.answering_on(number, question))


@pytest.mark.parametrize("key", ["residual", "attention", "lens", "activations", "cache"])
def test_the_difference_is_that_of_the_branches(driver: Driver, key: str) -> None:
    a, b = compared(driver)
    panel = driver.bring_up(key)
    driver.settle()
    driver.until(SwitchedFrame, lambda: driver.window.compare_bar.buttons["A − B"].click())
    driver.settle()
    assert driver.run.tree.current == a
    assert panel.side() == "A − B"
    watched = dict(driver.window.board._watches)
    name = {"residual": "vectors", "attention": "row", "lens": "window", "activations": "tensor", "cache": "vectors"}[
        key
    ]
    question = watched[f"{key}.{name}"]
    assert watched[f"{key}.{name}@B"] == question
    array = {
        "residual": "vectors",
        "attention": "rows",
        "lens": "probabilities",
        "activations": "values",
        "cache": "keys",
    }[key]
    shown = {"residual": "vectors", "attention": "row", "lens": "difference", "activations": "values", "cache": "keys"}[
        key
    ]
    of_a, of_b = (getattr(answered(driver, question, number), array) for number in (a, b))
    np.testing.assert_array_equal(panel.values()[shown], of_a - of_b)
    assert np.abs(of_a - of_b).max() > 0
    driver.trigger("next_side")
    driver.settle()
    assert driver.window.context.comparison.side == "A"
    assert panel.side() == "A"
    assert driver.errors() == []


def test_neurons_differ_by_what_both_branches_give(driver: Driver) -> None:
    a, b = compared(driver)
    panel = driver.bring_up("experts")
    driver.settle()
    assert panel.values().keys() >= {"post", "share"}, "B alone"
    driver.until(SwitchedFrame, lambda: driver.window.compare_bar.buttons["A − B"].click())
    driver.settle()
    assert (panel.side(), panel.aside()) == ("A − B", "")
    watched = dict(driver.window.board._watches)
    question = watched["experts.neurons"]
    assert watched["experts.neurons@B"] == question
    posts = []
    for number in (a, b):
        answer = answered(driver, question, number)
        posts.append(dict(zip(answer.ids.tolist(), answer.post.tolist(), strict=True)))
    values = panel.values()
    assert len(values["neurons"]) == 24
    for neuron, post in zip(values["neurons"].tolist(), values["post"].tolist(), strict=True):
        assert post == np.float32(posts[0][neuron]) - np.float32(posts[1][neuron])
    assert np.abs(values["post"]).max() == max(
        abs(np.float32(p) - np.float32(posts[1][n])) for n, p in posts[0].items()
    )
    driver.trigger("next_side")
    driver.settle()
    assert "share" in panel.values()
    assert driver.errors() == []


@pytest.fixture
def routed(make_window: MakeWindow, qtbot: Any, tmp_path: Path) -> Driver:
    """A window with a mixture of experts."""
    folder = KindsOnDisk(tmp_path)["mixtral-default"].folder
    options = Options(model=str(folder), sampling=GREEDY, tokens=6, size=(1600, 900), layout="focus")
    made = Driver(make_window(options, panels=PANELS, start=True), qtbot)
    qtbot.waitUntil(lambda: made.run.model is not None, timeout=60_000)
    made.window.bar.prompt.setPlainText("compare")
    return made


def test_routing_differs_by_what_both_branches_chose(routed: Driver) -> None:
    a, b = compared(routed)
    panel = routed.bring_up("experts")
    routed.window.context.cursor.pin(layer=1)
    routed.settle()
    routed.until(SwitchedFrame, lambda: routed.branching.show_side("A − B"))
    for page, key in enumerate(("router_logits", "layer_weights", "share")):
        panel._tabs.setCurrentIndex(page)
        routed.qtbot.waitUntil(lambda key=key: key in panel.values(), timeout=10_000)
        routed.settle()
    watched = dict(routed.window.board._watches)
    assert watched["experts.page@B"] == watched["experts.page"]
    of_a, of_b = (answered(routed, watched["experts.map"], number) for number in (a, b))
    n = min(of_a.n, of_b.n)
    values = panel.values()
    np.testing.assert_array_equal(values["weights"], of_a.weights[:, :n] - of_b.weights[:, :n])
    assert np.abs(values["weights"]).max() > 0
    np.testing.assert_array_equal(values["sets"] == ONLY_B, (of_b.chosen[:, :n] > 0) & (of_a.chosen[:, :n] == 0))
    shares = [answered(routed, watched["experts.page"], number).share for number in (a, b)]
    np.testing.assert_array_equal(values["share"], shares[0] - shares[1])
    assert routed.errors() == []


def test_the_three_sides_follow_each_other_and_end(driver: Driver) -> None:
    a, b = compared(driver)
    seen = []
    for _ in range(3):
        driver.trigger("next_side")
        driver.settle()
        driver.qtbot.waitUntil(
            lambda: driver.run.tree.current == driver.window.context.comparison.branch, timeout=5_000
        )
        seen.append((driver.window.context.comparison.side, driver.run.tree.current))
    assert seen == [("A − B", a), ("A", a), ("B", b)]
    sampling = driver.panel("sampling")
    driver.until(SwitchedFrame, lambda: driver.branching.show_side("A − B"))
    driver.bring_up("sampling")
    driver.settle()
    assert set(sampling.values()) == {"tokens", "ids", "a", "b", "difference"}
    driver.trigger("end_comparison")
    assert not driver.window.compare_bar.isVisible()
    assert not driver.window.actions_by_name["next_side"].isEnabled()
    driver.settle()
    assert set(sampling.values()) == {"tokens", "ids", "raw", "final", "cut_by", "stage"}
    assert driver.errors() == []


def test_a_third_branch_or_a_deleted_one_ends_the_comparison(driver: Driver) -> None:
    a, b = compared(driver)
    driver.branching.do("drop", b)
    driver.qtbot.waitUntil(lambda: driver.window.context.comparison == Comparison(), timeout=5_000)
    assert not driver.window.compare_bar.isVisible()
    branched(driver, driver.run.n_prompt + 1)
    b = driver.run.tree.current
    for name, number in (("A", a), ("B", b)):
        driver.branching.do(name, number)
    assert driver.window.context.comparison.complete
    branched(driver, driver.run.n_prompt, rank=2)
    assert driver.window.context.comparison == Comparison()
    assert driver.errors() == []


def test_a_new_run_ends_the_comparison(driver: Driver) -> None:
    compared(driver)
    driver.trigger("run")
    driver.qtbot.waitUntil(lambda: driver.window.context.comparison == Comparison(), timeout=30_000)
    driver.qtbot.waitUntil(lambda: driver.run.ended is not None, timeout=30_000)
    assert not driver.window.compare_bar.isVisible()
    assert driver.run.tree is None or len(driver.run.tree.branches) == 1
    assert driver.errors() == []


def test_pinning_twice_lets_go_and_one_branch_is_not_both(driver: Driver) -> None:
    _, b = compared(driver)
    driver.branching.do("A", b)  # B becomes A
    assert driver.window.context.comparison == Comparison(b, None, "A")
    driver.branching.do("A", b)
    assert driver.window.context.comparison == Comparison()
    assert not driver.window.compare_bar.isVisible()


def test_while_a_pass_stands_the_other_branch_waits(driver: Driver) -> None:
    """What is asked of B inside a pass of A is answered once the run has ended."""
    compared(driver)
    panel = driver.bring_up("residual")
    driver.until(SwitchedFrame, lambda: driver.branching.show_side("A − B"))
    driver.settle()
    slow_passes(driver.window, 0.05)
    driver.trigger("go_on")
    driver.qtbot.waitUntil(lambda: driver.window.situation().state == "running", timeout=5_000)
    driver.trigger("pause")
    driver.qtbot.waitUntil(lambda: driver.window.situation().state == "paused", timeout=30_000)
    driver.trigger("step_layer")
    driver.qtbot.waitUntil(lambda: driver.run.where.layer is not None, timeout=30_000)
    driver.window.context.cursor.pin(position=1)
    driver.qtbot.wait(200)
    assert "residual.vectors@B" in driver.window.board._missing
    assert "once the run has ended" in driver.window.compare_bar.sentence.text()
    driver.until(EndFrame, lambda: driver.trigger("stop"))
    driver.settle()
    assert panel._vectors.position == 1
    assert np.abs(panel.values()["vectors"]).max() == 0, "both share the prompt"
    assert driver.errors() == []


def test_what_both_have_read_grows_with_each_token(driver: Driver) -> None:
    """A has fewer tokens than B: one step later the newest position of both is the next one."""
    compared(driver)
    panel = driver.bring_up("residual")
    driver.until(SwitchedFrame, lambda: driver.branching.show_side("A − B"))
    driver.window.context.cursor.follow()
    driver.settle()
    before = panel._vectors.position
    assert before == driver.run.n_read - 1
    driver.trigger("step_token")
    driver.qtbot.waitUntil(lambda: driver.window.situation().state == "paused", timeout=30_000)
    driver.settle()
    assert driver.run.where.stage == "start"
    assert panel._vectors.position == before + 1
    assert f"the {before + 2} positions" in driver.window.compare_bar.sentence.text()
    assert panel.values()["norms"].shape[1] == before + 2
    assert driver.errors() == []


def test_after_a_step_back_or_a_branch_run_and_steps_go_on(driver: Driver) -> None:
    first, action = driver.ends("run"), driver.window.actions_by_name["run"]
    assert action.text() == "&Run"
    driver.until(BackFrame, lambda: driver.branching.back_to(driver.run.n_prompt + 2))
    driver.qtbot.waitUntil(lambda: action.text() == "&Continue", timeout=5_000)
    assert action.iconText() == "Continue", "the button says so too"
    assert driver.ends("run")[:6] == first, "it goes on instead of beginning anew"
    assert (action.text(), action.iconText()) == ("&Run", "Run")
    token = branched(driver, driver.run.n_prompt + 1)
    driver.trigger("step_layer")
    driver.qtbot.waitUntil(lambda: driver.window.situation().state == "paused", timeout=30_000)
    assert driver.run.where.end == driver.run.n_prompt + 2, "the pass that reads the token put in"
    assert driver.ids() == [first[0], token]
    driver.until(EndFrame, lambda: driver.trigger("stop"))
    driver.until(SwitchedFrame, lambda: driver.branching.switch(driver.run.tree.branches[0].number))
    driver.qtbot.waitUntil(lambda: action.text() == "&Continue", timeout=5_000)
    driver.window.bar.prompt.setPlainText("Another")
    assert action.text() == "&Run", "a new prompt is run"
    driver.ends("run")
    assert "".join(piece.text for piece in driver.run.prompt) == "Another"
    assert driver.errors() == []


def test_a_branch_at_the_newest_token_leaves_the_cache_whole(driver: Driver) -> None:
    first = driver.ends("run")
    branched(driver, driver.run.n_tokens - 1)
    root = driver.run.tree.branches[0].number
    frame = driver.until(SwitchedFrame, lambda: driver.branching.switch(root))
    assert frame.refilled == 0, "this model's layers forget nothing"
    assert driver.ids() == first
    panel = driver.bring_up("cache")
    driver.settle()
    assert panel.values()["firsts"].tolist() == [0] * driver.run.model.n_layers
    assert driver.errors() == []
