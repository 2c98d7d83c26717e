"""Any commands in any order, on a real window with its real engine's thread, and what must hold after each of them.

``python -m tests.app.state_machine --steps 10000 --seed 1`` runs longer than the test does, and prints its seeds; a
failure prints the commands that led to it.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from PySide6.QtCore import QEvent, QSettings, QtMsgType, qInstallMessageHandler
from PySide6.QtWidgets import QApplication

import app.delivery
from app import overrides
from app.command_line import Options
from app.commands import COMMANDS, Command, identity
from app.mailbox import Mailbox
from app.panels import PANELS
from app.preferences import Preferences
from app.speeds import FULL
from app.window import Window
from app.worker import Worker
from engine.breakpoints import Test
from engine.edits import Edit
from engine.frames import ErrorFrame, TreeFrame, Where
from engine.questions import AskAttentionGrid, AskCacheState, AskResidualNorms
from engine.settings import Record, Sampling
from tests.app.dialogs import dialogs, questions

PATIENCE = 20.0  # seconds until something that does not come is a failure
STEPS_EACH = 50  # commands to one window
SELDOM = ("open_folder", "open_file", "open_run", "save_run", "close", "choose_record")  # they ask with a dialog
PROMPTS = ("a", "hello", "the cat sat", "again and again", "x" * 30, "one two three", "", "x" * 600)
TOKENS = (1, 3, 3, 6, 12, 400)
EDITS = (
    Edit("scale", "attn.hook_z", (0,), value=0.5),
    Edit("zero", "hook_resid_mid", (1,), positions=(2, 5)),
    Edit("mean", "attn.hook_z", (1,), heads=(0,)),
    Edit("copy", "hook_resid_pre", (2,), sources=(0,)),
    Edit("knock out", "attn.hook_pattern", (1,), keys=(0,), renormalise=False),
    Edit("knock out", "attn.hook_attn_scores", (1,), keys=(0, 1)),
    Edit("forbid", "mlp.hook_router_choice", (0,), entries=(1,)),  # of the second model only
    Edit("ban", "hook_logits_final", entries=(5, 6)),
    Edit("zero", "attn.hook_nothing", (0,)),  # of no model
)
TESTS = (
    Test("stage", 0, "rope"),
    Test("stage", 1),
    Test("token", text="a"),
    Test("entropy", limit=1.0),
    Test("not the best"),
    Test("lens"),
    Test("attention", 1, head=1, key=0, limit=0.2),
    Test("expert", expert=1),
    Test("router entropy", limit=0.5),
    Test("norm", limit=5.0),
    Test("not finite"),
)
SPOTS = ((0, "rope"), (1, ""), (2, "mix"), (None, "logits"), (1, "nothing"))


def command(**values: some.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Any]:
    """A rule: it is written down, done, perhaps waited for, and everything is looked at after it."""

    def rule_of(method: Callable[..., None]) -> Any:
        def given(self: Program, patient: bool, **drawn: Any) -> None:
            arguments = ", ".join(f"{name}={value!r}" for name, value in drawn.items())
            self.journal.append(f"{method.__name__}({arguments}){' and wait' if patient else ''}")
            method(self, **drawn)
            self._after(patient)

        given.__name__ = method.__name__
        return rule(**values, patient=some.booleans())(given)

    return rule_of


@dataclass(frozen=True)
class Facts:
    """What the engine's thread has between two of its operations."""

    tokens: tuple[int, ...]
    n_prompt: int
    settings: int
    committed: int
    lengths: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    where: Where
    edited: bool  # the run, by edits
    listening: bool


def facts_of(worker: Worker) -> Facts | None:
    """Call it in the engine's thread; None without a model."""
    session = worker._session
    if session is None or not hasattr(session, "cache"):
        return None
    points, spans = session.loaded.model.points, session.trace.spans
    return Facts(
        tuple(session.prompt + session.output),
        len(session.prompt),
        len(session.settings),
        session.cache.length,
        tuple(session.cache.lengths),
        tuple(spans),
        session.gate.where,
        bool(session.trace.applied),
        any(point.active for point in points.values()),
    )


def consistent(facts: Facts) -> None:
    """What holds between any two operations, also in the middle of a pass."""
    assert facts.settings == len(facts.tokens) - facts.n_prompt
    ends = [0, *(end for _, end in facts.spans)]
    assert [start for start, _ in facts.spans] == ends[:-1], "the record has gaps"
    if facts.where.state == "idle":
        assert ends[-1] == facts.committed, f"cache and record do not agree: {facts}"
    else:  # the cache has the pass from its last layer on, the record from its token on
        assert ends[-1] in (facts.where.start, facts.committed), f"the record is elsewhere: {facts}"
        assert facts.committed in (facts.where.start, facts.where.end), f"the cache is elsewhere: {facts}"
    assert all(facts.committed <= length <= len(facts.tokens) for length in facts.lengths), facts


def path(tree: TreeFrame, n_prompt: int) -> tuple[int, ...]:
    """The output of the current branch: what it has of its own behind what it shares."""
    branches = {branch.number: branch for branch in tree.branches}
    branch = branches[tree.current]
    ids = tuple(piece.id for piece in branch.pieces)
    while branch.parent is not None:
        start, branch = branch.start, branches[branch.parent]
        first = n_prompt if branch.parent is None else branch.start
        ids = tuple(piece.id for piece in branch.pieces[: max(0, start - first)]) + ids
    return ids


def untrue(worker: Worker) -> str:
    """What the cache holds that a single pass over the same tokens does not leave; call it in the engine's thread.

    A run that was edited, or whose layers still miss what they had forgotten, is not looked at.
    """
    import torch

    from engine.cache import KVCache

    session = worker._session
    if session is None or not hasattr(session, "cache") or worker._running or session.trace.applied:
        return ""
    n, model, config = session.cache.length, session.loaded.model, session.loaded.config
    if n == 0 or session.cache.missing():
        return ""
    fresh = KVCache(config, dtype=model.embed.weight.dtype, device=session.loaded.device)
    model(session.ids(0, n), fresh, logits="last")
    for layer in range(config.n_layers):
        for kept, made in zip(session.cache.parts(layer), fresh.parts(layer), strict=True):
            count = min(kept.shape[2], made.shape[2])
            if not torch.allclose(kept[:, :, -count:], made[:, :, -count:], atol=1e-3, rtol=1e-3):
                return f"the cache of layer {layer} is not that of its {n} tokens"
    return ""


class Mark:
    """Posted like a frame: what the engine's thread had posted before has reached the window when this has."""


class Program(RuleBasedStateMachine):
    """One window from its start to its end. ``models``: folders of tiny models; the first is opened at the start."""

    models: tuple[Path, ...] = ()
    folder = Path()
    done = 0  # commands, of all windows

    def __init__(self) -> None:
        super().__init__()
        QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, tempfile.mkdtemp(dir=self.folder))
        self.journal: list[str] = []  # hypothesis tells only what happens again in the same way
        self.troubles: list[str] = []
        self.marked: Mark | None = None
        self.before = (sys.excepthook, qInstallMessageHandler(self._qt_says))
        sys.excepthook = lambda kind, error, trace: self.troubles.append(f"{kind.__name__}: {error}")
        box = Mailbox()
        options = Options(model=str(self.models[0]), sampling=Sampling(greedy=True), tokens=8, size=(1400, 900))
        self.window = Window(Worker(box, threads=1), box, Preferences(), options, PANELS)
        self.window.received.connect(self._take)
        self.window.show()
        self.window.worker.start()
        self._until(lambda: self.window.context.run.model is not None, "the first model")
        self.window.bar.prompt.setPlainText("hello")
        self.window.run_prompt()
        self._until(lambda: self.window.context.run.ended is not None, "the first run")

    def teardown(self) -> None:
        """The window closes in time, whatever it was doing."""
        began = time.monotonic()
        self.window.close()
        took = time.monotonic() - began
        sys.excepthook = self.before[0]
        qInstallMessageHandler(self.before[1])
        self.window.deleteLater()
        QApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        QApplication.processEvents()
        assert self.window.closed_in_time
        assert took < 3.0, f"closing took {took:.1f} s"

    # -- commands --------------------------------------------------------------------------------------------------

    @command(index=some.integers(0, 200))
    def press(self, index: int) -> None:
        """Any of the commands that can be given now."""
        possible = [command for command in COMMANDS if self._action(command).isEnabled()]
        possible = [command for command in possible if command.name not in SELDOM]
        self._action(possible[index % len(possible)]).trigger()

    @command(
        name=some.sampled_from(
            ("run", "go_on", "pause", "step_layer", "finish_layer", "step_stage", "step_token", "run_here", "stop")
        )
    )
    def move(self, name: str) -> None:
        """A step at rest would begin the run anew, and forget its branches: then the run goes on instead."""
        name = name if self.window.active or name == "run" else "go_on"
        if self.window.actions_by_name[name].isEnabled():
            self.window.actions_by_name[name].trigger()

    @command(text=some.sampled_from(PROMPTS), tokens=some.sampled_from(TOKENS), now=some.integers(0, 2))
    def prompt(self, text: str, tokens: int, now: int) -> None:
        """Seldom run at once: with another run the branches are gone."""
        self.window.bar.prompt.setPlainText(text)
        self.window.bar.tokens.setValue(tokens)
        if not now:
            self.window.run_prompt()

    @command()
    def finish(self) -> None:
        """Let the run come to its end, or end it where it is long."""
        self.window.context.breaks.remove_all()
        self.window.debugging.set_speed(FULL)
        if self.window.active and self.window.context.run.max_new_tokens > 50:
            self.window.stop()
        left: list[Where] = []  # stops: an edit may make a pass of a short prompt stop at NaN again and again

        def ended() -> bool:
            where = self.window.context.run.where
            if self.window.situation().state == "paused" and where not in left:
                left.append(where)
                self.window.run()
            return not self.window.active

        self._until(ended, "the end of the run")

    @command(index=some.integers(0, 12))
    def model(self, index: int) -> None:
        """Seldom another model, the same, or one that is not there."""
        known = (*self.models, self.folder / "nothing")
        if index < len(known):
            self.window.filing.open_model(str(known[index]))

    @command(position=some.integers(-1, 60), layer=some.integers(0, 9), head=some.integers(0, 9))
    def pin(self, position: int, layer: int, head: int) -> None:
        """A place that there is, as a click on a picture pins it."""
        run = self.window.context.run
        if run.model is not None and run.n_tokens:
            layer %= run.model.n_layers
            head %= run.model.layers[layer].n_heads
            self.window.context.cursor.pin(
                position=None if position < 0 else position % run.n_tokens, layer=layer, head=head
            )

    @command(index=some.integers(0, 30), shown=some.booleans())
    def panel(self, index: int, shown: bool) -> None:
        """Open or close one."""
        docks = list(self.window.workspace.docks.values())
        dock = docks[index % len(docks)]
        dock.setVisible(shown)
        if shown:
            dock.raise_()

    @command(seed=some.integers(0, 3), temperature=some.sampled_from((0.0, 0.7, 1.5)))
    def sampling(self, seed: int, temperature: float) -> None:
        chosen = Sampling(greedy=True) if temperature == 0 else Sampling(temperature=temperature, seed=seed)
        self.window.set_sampling(chosen)

    @command(memory=some.sampled_from((0, 1 << 16, 1 << 30)), beyond=some.sampled_from(("drop", "disk")))
    def record(self, memory: int, beyond: Any) -> None:
        self.window.set_record(Record(memory, beyond))

    @command(
        question=some.one_of(
            some.just(AskCacheState()), some.just(AskResidualNorms()), some.integers(0, 9).map(AskAttentionGrid)
        )
    )
    def question(self, question: Any) -> None:
        """Also about a layer that there is not: that is an error in one sentence."""
        self.window.worker.ask("question", question)

    @command(edit=some.sampled_from(EDITS))
    def edit(self, edit: Edit) -> None:
        self.window.context.tray.add(edit)

    @command(index=some.integers(0, 9), deed=some.integers(0, 3))
    def change_edit(self, index: int, deed: int) -> None:
        """Switch one, weaken it, duplicate it, or take it out."""
        tray = self.window.context.tray
        if tray.edits:
            index %= len(tray.edits)
            deeds: tuple[Callable[[], None], ...] = (
                lambda: tray.switch(index, not tray.edits[index].on),
                lambda: tray.set_strength(index, 0.5),
                lambda: tray.duplicate(index),
                lambda: tray.remove(index),
            )
            deeds[deed]()

    @command(name=some.sampled_from(("undo_edit", "redo_edit", "switch_edits", "clear_edits")))
    def edits(self, name: str) -> None:
        if self.window.actions_by_name[name].isEnabled():
            self.window.actions_by_name[name].trigger()

    @command(tests=some.lists(some.sampled_from(TESTS), min_size=1, max_size=2), ignore=some.integers(0, 3))
    def breakpoint(self, tests: list[Test], ignore: int) -> None:
        breaks = self.window.context.breaks
        if len(breaks.breakpoints) > 2:
            breaks.remove_all()
        breaks.add(tuple(tests), ignore)

    @command(index=some.integers(0, 9), gone=some.booleans())
    def change_breakpoint(self, index: int, gone: bool) -> None:
        """Take one out, or switch all."""
        breaks = self.window.context.breaks
        if gone and breaks.breakpoints:
            breaks.remove(breaks.breakpoints[index % len(breaks.breakpoints)].number)
        else:
            breaks.switch_all()

    @command(spot=some.sampled_from(SPOTS))
    def run_to(self, spot: tuple[int | None, str]) -> None:
        if self.window.situation().can_run:
            self.window.debugging.run_to(*spot)

    @command(tokens=some.integers(0, 30))
    def back(self, tokens: int) -> None:
        """Also to less than the prompt, and to more than there is: then nothing happens, or an error says why."""
        self.window.worker.back(tokens) if tokens % 5 == 0 else self.window.branching.back_to(tokens)

    @command(position=some.integers(0, 30), token=some.sampled_from(("a", "Z", 7, 12, 40, 1000)))
    def branch(self, position: int, token: int | str) -> None:
        run = self.window.context.run
        if run.steps:
            position = run.n_prompt + position % len(run.steps) if position else 0  # 0: of the prompt, seldom
        self.window.branching.branch_at(position, token)

    @command(deed=some.sampled_from(("switch", "switch", "switch", "drop", "A", "B")), number=some.integers(0, 6))
    def tree(self, deed: str, number: int) -> None:
        """Go to a branch, drop it or compare it; seldom there is none of that number."""
        shown = self.window.context.run.tree
        if shown is not None and number < 6:
            number = shown.branches[number % len(shown.branches)].number
        self.window.branching.do(deed, number)

    @command()
    def save(self) -> None:
        if self.window.actions_by_name["save_run"].isEnabled():
            self.window.filing.save_run_as(self.folder / "run.fluoro")

    @command(now=some.integers(0, 3))
    def open_saved(self, now: int) -> None:
        if not now and (self.folder / "run.fluoro").exists() and not self.window.filing.saving:
            self.window.filing.open_model(str(self.folder / "run.fluoro"))

    # -- what must hold --------------------------------------------------------------------------------------------

    def _after(self, patient: bool) -> None:
        type(self).done += 1
        try:
            self._check(patient)
        except BaseException:
            print("\n".join(("What led to this:", *self.journal)), file=sys.stderr)
            raise

    def _check(self, patient: bool) -> None:
        QApplication.processEvents()
        if patient:
            self._come_to_rest()
        facts = self._in_engine(facts_of)
        assert not self.troubles, self.troubles
        assert self.window.worker._thread.is_alive(), "the engine's thread is gone"
        self._check_window()
        if facts is not None:
            consistent(facts)
            if patient and self._at_rest() and self.window.context.run.steps and facts == self._in_engine(facts_of):
                self._check_run(facts)

    def _check_window(self) -> None:
        run, pinned = self.window.context.run, self.window.context.cursor.pinned
        assert self.window.isVisible()
        for index, step in enumerate(run.steps):
            assert (step.index, step.end) == (index, run.n_prompt + index)
        if run.model is not None:
            assert 0 <= pinned.layer < run.model.n_layers
            assert pinned.position is None or 0 <= pinned.position < max(1, run.n_tokens)

    def _check_run(self, facts: Facts) -> None:
        """What the window shows is what the engine has."""
        run = self.window.context.run
        if self.window.situation().missing:
            return
        assert tuple(piece.id for piece in run.pieces) == facts.tokens, (run.pieces, facts.tokens)
        assert facts.n_prompt == run.n_prompt
        assert facts.committed in (run.n_read, facts.where.end), facts  # behind its last layer a pass is in the cache
        if not self.window.active:
            assert facts.committed == run.n_read
            assert set(facts.lengths) == {facts.committed}
            assert facts.committed == len(facts.tokens) - 1
            assert not facts.listening, "something still hangs on the model"
            false = self._in_engine(untrue)
            assert not false, false
        if run.tree is not None:
            output, known = facts.tokens[facts.n_prompt :], path(run.tree, facts.n_prompt)
            assert known == output[: len(known)], "the tree shows other tokens"
            assert self.window.active or len(known) == len(output), "the tree lacks tokens"

    # -- waiting ---------------------------------------------------------------------------------------------------

    def _at_rest(self) -> bool:
        window = self.window
        return (
            not (window.filing.loading or window.requested or window.filing.saving)
            and window.situation().state != "running"
        )

    def _come_to_rest(self) -> None:
        """Until nothing is under way but a run that makes many tokens; that one is let go on."""
        until = time.monotonic() + 0.3
        self._until(lambda: self._at_rest() or time.monotonic() > until, "rest")
        self._until(lambda: not (self.window.filing.loading or self.window.filing.saving), "the model or the file")

    def _until(self, there: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not there():
            if time.monotonic() > deadline:
                faulthandler.dump_traceback()
                raise AssertionError(f"{what} did not come; {self.window.worker._gate.__dict__}")
            QApplication.processEvents()
            time.sleep(0.001)

    def _in_engine(self, looked_at: Callable[[Worker], Any]) -> Any:
        """Looked at by the engine's thread itself, in the middle of a pass if there is one."""
        worker, seen, mark = self.window.worker, Future[Any](), Mark()

        def look() -> None:
            if seen.done():  # in the pass, before its turn in the queue came
                return
            try:
                seen.set_result(looked_at(worker))
            except Exception as error:
                seen.set_exception(error)
            worker._mailbox.post(mark)

        with worker._lock:
            worker._gate.do(look)  # a run that has not begun yet may stop in its first pass
            worker._commands.put(look)
        self._until(lambda: seen.done() and self.marked is mark, "the engine's thread")
        return seen.result()

    def _action(self, command: Command) -> Any:
        return self.window.actions_by_name[identity(command)]

    def _take(self, frame: object) -> None:
        if isinstance(frame, Mark):
            self.marked = frame
        if isinstance(frame, ErrorFrame) and (frame.details or "\n" in frame.sentence):
            self.troubles.append(f"{frame.sentence}\n{frame.details}")

    def _qt_says(self, kind: QtMsgType, context: object, message: str) -> None:
        if kind != QtMsgType.QtDebugMsg and "This plugin does not support" not in message:
            self.troubles.append(f"Qt: {message}")


def run(models: tuple[Path, ...], folder: Path, steps: int, seed: int) -> int:
    """About so many commands; how many they were. Raises what does not hold."""
    Program.models, Program.folder, Program.done = models, folder, 0
    kept = app.delivery.LEAST_PAUSE_MS, app.delivery.REST_PER_WORK
    app.delivery.LEAST_PAUSE_MS, app.delivery.REST_PER_WORK = 0, 0  # a hurried window: frames come as they are posted
    try:
        chosen = settings(
            max_examples=max(1, steps // STEPS_EACH),
            stateful_step_count=STEPS_EACH,
            deadline=None,
            database=None,
            phases=(Phase.generate,),  # what depends on time cannot be shortened
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        )
        with dialogs(_files(folder, seed), models[0], seed), questions(seed):
            run_state_machine_as_test(seeded(seed)(Program), settings=chosen)
    finally:
        app.delivery.LEAST_PAUSE_MS, app.delivery.REST_PER_WORK = kept
    return Program.done


def _files(folder: Path, seed: int) -> Path:
    """Where what is saved comes to lie, and what is opened is looked for."""
    files = folder / f"files {seed}"
    files.mkdir()
    return files


def two_models(folder: Path) -> tuple[Path, Path]:
    """One that reads on for long, and one with a window, experts and a small context."""
    from tests.app.conftest import write_tokenizer
    from tests.engine.families.oracle import build
    from tests.engine.families.variants import VARIANTS
    from tests.engine.tiny import tiny_llama

    tiny_llama(folder / "plain", eos_token_id=None, bos_token_id=None, max_position_embeddings=512)
    build(VARIANTS["mixtral-sliding"], folder / "window")
    for name in ("plain", "window"):
        write_tokenizer(folder / name)
    return folder / "plain", folder / "window"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first window's commands; each further part adds 1")
    options = parser.parse_args()
    overrides.guard()
    application = QApplication([])
    began, done, seed = time.monotonic(), 0, options.seed
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = two_models(folder)
        while done < options.steps:
            print(f"seed {seed} from step {done} on", flush=True)
            done += run(models, folder, min(1000, options.steps - done), seed)
            seed += 1
    print(f"{done} steps in {time.monotonic() - began:.0f} s, seeds {options.seed} to {seed - 1}: clean")
    del application


if __name__ == "__main__":
    main()
