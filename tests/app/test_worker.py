"""The engine's thread on a tiny random model: commands, stops, errors, answers, and the way out."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from app.mailbox import Mailbox
from app.notices import CancelledFrame, EditsFrame, ReadyFrame
from app.worker import RunRequest, Worker
from engine.breakpoints import Breakpoint, HitFrame
from engine.breakpoints import Test as Condition
from engine.edits import Edit
from engine.frames import AnswerFrame, EndFrame, ErrorFrame, ModelFrame, RunFrame, StepFrame, Where
from engine.questions import AskAttentionGrid, AskCacheState, AskResidualNorms
from engine.settings import Sampling

GREEDY = Sampling(greedy=True)
LONG = 400  # tokens that a tiny model needs some seconds for


class Reader:
    """Everything that the worker posted, in order."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._unseen: list[object] = []
        self.frames: list[object] = []

    def until(self, found: Callable[[object], bool], seconds: float = 60.0) -> object:
        """The first frame not seen before that fits."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._unseen += self._mailbox.drain()
            while self._unseen:
                self.frames.append(self._unseen.pop(0))
                if found(self.frames[-1]):
                    return self.frames[-1]
            time.sleep(0.002)
        raise AssertionError(f"it did not come; seen: {[type(frame).__name__ for frame in self.frames]}")

    def next(self, kind: type, seconds: float = 60.0):
        return self.until(lambda frame: isinstance(frame, kind), seconds)

    def paused(self) -> Where:
        return self.until(lambda frame: isinstance(frame, Where) and frame.state == "paused")


@pytest.fixture
def reader(worker: Worker, mailbox: Mailbox) -> Reader:
    return Reader(mailbox)


@pytest.fixture
def loaded(worker: Worker, reader: Reader, tiny_model: Path) -> Reader:
    """A reader after the tiny model was loaded."""
    worker.load(str(tiny_model))
    assert reader.next(ModelFrame).n_layers == 3
    return reader


def request(prompt: str = "hello", tokens: int = 4, **more) -> RunRequest:
    return RunRequest(prompt, GREEDY, tokens, **more)


def test_it_says_when_the_engine_is_there(worker: Worker, reader: Reader) -> None:
    assert reader.next(ReadyFrame).threads == 1


def test_a_run_is_a_run_frame_then_steps_then_the_end(worker: Worker, loaded: Reader) -> None:
    worker.run(request(tokens=5))
    assert loaded.next(EndFrame).reason == "limit"
    events = [frame for frame in loaded.frames if isinstance(frame, RunFrame | StepFrame | EndFrame)]
    assert [type(frame) for frame in events] == [RunFrame, *[StepFrame] * 5, EndFrame]
    steps = events[1:-1]
    assert [step.index for step in steps] == [0, 1, 2, 3, 4]
    assert [step.kind for step in steps] == ["prefill", *["decode"] * 4]
    assert [(step.start, step.end) for step in steps] == [(0, 5), (5, 6), (6, 7), (7, 8), (8, 9)]


def test_a_bad_source_is_one_sentence_and_the_old_model_still_runs(worker: Worker, loaded: Reader, tmp_path) -> None:
    worker.load(str(tmp_path / "nothing"))
    error = loaded.next(ErrorFrame)
    assert error.task == "load"
    assert "\n" not in error.sentence
    worker.run(request())
    assert loaded.next(EndFrame).reason == "limit"


@pytest.mark.parametrize("prompt", ["", "x" * 5000], ids=["empty", "too long"])
def test_a_run_that_cannot_begin_leaves_the_old_one(worker: Worker, loaded: Reader, prompt: str) -> None:
    worker.watch("a", AskCacheState())
    worker.run(request(tokens=3))
    loaded.next(EndFrame)
    before = len(loaded.frames)
    worker.run(request(prompt))
    assert loaded.next(ErrorFrame).task == "run"
    state = loaded.next(AnswerFrame).answer
    assert state.committed == len("hello") + 2
    assert not any(isinstance(frame, RunFrame) for frame in loaded.frames[before:])


def test_without_a_model_a_run_is_refused(worker: Worker, reader: Reader) -> None:
    worker.run(request())
    assert "model" in reader.next(ErrorFrame).sentence


@pytest.mark.parametrize(
    ("armed", "step", "layer", "stage"),
    [
        ("pause", 0, None, "start"),
        ("layer", 0, 0, "add 2"),
        ("next layer", 0, 0, "add 2"),
        ("stage", 0, None, "embed"),
        ("token", 1, None, "start"),
        ((1, "rope"), 0, 1, "rope"),
        ((2, ""), 0, 2, "add 2"),
    ],
)
def test_an_armed_run_stops_where_it_should(worker, loaded, armed, step, layer, stage) -> None:
    worker.run(request(armed=armed))
    where = loaded.paused()
    assert (where.step, where.layer, where.stage) == (step, layer, stage)


def test_layer_by_layer_through_a_pass(worker: Worker, loaded: Reader) -> None:
    worker.run(request(armed="layer"))
    seen = [loaded.paused().layer]
    for _ in range(3):
        worker.step("layer")
        seen.append(loaded.paused().layer)
    assert seen == [0, 1, 2, None]
    worker.resume()
    assert loaded.next(EndFrame).reason == "limit"


def test_a_token_step_finishes_the_token(worker: Worker, loaded: Reader) -> None:
    worker.run(request(armed="pause"))
    loaded.paused()
    worker.step("token")
    where = loaded.paused()
    assert (where.step, where.stage) == (1, "start")
    assert sum(isinstance(frame, StepFrame) for frame in loaded.frames) == 1


def test_one_layer_further_and_run_to_a_stage(worker: Worker, loaded: Reader) -> None:
    worker.run(request(armed=(0, "mix")))
    loaded.paused()
    worker.step("next layer")
    assert (loaded.paused().layer, loaded.frames[-1].stage) == (1, "mix")
    worker.run_to(None, "final norm")
    assert (loaded.paused().step, loaded.frames[-1].stage) == (0, "final norm")
    worker.run_to(0, "mix")
    assert (loaded.paused().step, loaded.frames[-1].layer, loaded.frames[-1].stage) == (1, 0, "mix")
    worker.run_to(0, "router")
    assert "no stage 'router' in layer 0" in loaded.next(ErrorFrame).sentence
    assert worker.where().state == "paused"  # what was refused has moved nothing
    worker.resume()
    assert loaded.next(EndFrame).reason == "limit"


def test_run_to_without_a_model_is_refused(worker: Worker, reader: Reader) -> None:
    worker.run_to(0, "rope")
    assert "No model is loaded" in reader.next(ErrorFrame).sentence


def test_a_pace_shows_every_stage_with_its_answers(worker: Worker, reader: Reader, tiny_model: Path) -> None:
    """Set before the engine is there it holds from the first stage on; full speed again in the middle of a pass."""
    worker.set_pace(50)
    worker.load(str(tiny_model))
    reader.next(ModelFrame)
    worker.watch("a", AskCacheState())
    worker.run(request(tokens=2))
    stages = [(None, "embed"), *((0, stage) for stage in ("norm 1", "q k v", "rope", "cache", "scores", "softmax"))]
    shown = [reader.until(lambda frame, at=at: _shows(frame, at)) for at in stages]
    assert {where.state for where in shown} == {"running"}
    reader.next(AnswerFrame)
    worker.set_pace(None)
    reader.next(EndFrame)
    assert sum(isinstance(frame, Where) for frame in reader.frames) < 2 * 40  # a pass has 41 stages


def _shows(frame: object, place: tuple[int | None, str]) -> bool:
    return isinstance(frame, Where) and (frame.layer, frame.stage) == place


def test_breakpoints_stop_runs_and_are_told(worker: Worker, reader: Reader, tiny_model: Path) -> None:
    """Set before the engine is there, in a stopped pass, and while nothing runs."""
    at_rope = Breakpoint(1, (Condition("stage", 1, stage="rope"),))
    worker.set_breakpoints((at_rope,))
    worker.load(str(tiny_model))
    worker.run(request(tokens=2))
    hit = reader.next(HitFrame)
    assert (hit.number, hit.hits, hit.stops, hit.sentence) == (1, 1, True, "rope of layer 1 is computed")
    assert reader.paused() == hit.where
    worker.set_breakpoints((at_rope, Breakpoint(2, (Condition("entropy", limit=0.01),))))
    worker.resume()
    assert (reader.next(HitFrame).number, reader.paused().stage) == (2, "sampling")
    worker.set_breakpoints(())
    worker.resume()
    assert reader.next(EndFrame).reason == "limit"
    worker.set_breakpoints((at_rope,))
    worker.run(request(tokens=1))
    assert (reader.next(HitFrame).hits, reader.paused().stage) == (1, "rope")


def test_nan_is_watched_for_from_the_start(worker: Worker, reader: Reader, tiny_model: Path) -> None:
    worker.load(str(tiny_model))
    reader.next(ModelFrame)
    worker._loaded.model.layers[2].mlp.down.weight.data[0, 0] = float("nan")
    worker.run(request(tokens=1))
    hit = reader.next(HitFrame)
    assert (hit.number, hit.place, hit.sentence) == (0, (0, 2, None), "NaN in what leaves layer 2 at position 0")
    assert reader.paused().layer == 2
    worker.resume()
    assert "NaN" in reader.next(ErrorFrame).sentence


def test_pause_in_the_middle_and_go_on(worker: Worker, loaded: Reader) -> None:
    worker.run(request(tokens=LONG))
    loaded.next(StepFrame)
    worker.pause()
    where = loaded.paused()
    steps = sum(isinstance(frame, StepFrame) for frame in loaded.frames)
    time.sleep(0.2)
    assert worker.where() == where
    assert steps == where.step
    worker.resume()
    loaded.next(StepFrame)
    worker.stop()
    assert loaded.next(EndFrame).reason == "stopped"


@pytest.mark.parametrize("armed", ["stage", None], ids=["stopped inside a layer", "running"])
def test_stop_comes_through_within_200_ms(worker: Worker, loaded: Reader, armed) -> None:
    worker.run(request(tokens=LONG, armed=armed))
    loaded.paused() if armed else loaded.next(StepFrame)
    if armed:
        worker.step("stage")
        worker.step("stage")
        loaded.paused()
    began = time.monotonic()
    worker.stop()
    assert loaded.next(EndFrame).reason == "stopped"
    assert time.monotonic() - began < 0.4  # 200 ms, and what a shared machine takes


def test_a_new_run_replaces_one_that_stands_in_a_layer(worker: Worker, loaded: Reader) -> None:
    worker.run(request(armed="layer"))
    loaded.paused()
    worker.run(request("second", tokens=2))
    assert loaded.next(EndFrame).reason == "stopped"
    assert len(loaded.next(RunFrame).prompt) == len("second")
    assert loaded.next(EndFrame).reason == "limit"


def test_another_model_replaces_one_that_stands_in_a_layer(worker: Worker, loaded: Reader, tiny_model: Path) -> None:
    worker.run(request(armed="layer"))
    loaded.paused()
    worker.load(str(tiny_model))
    loaded.next(EndFrame)
    loaded.next(ModelFrame)


def test_of_many_loads_only_the_last_is_done(worker: Worker, reader: Reader, tiny_model: Path, tmp_path: Path) -> None:
    for n in range(20):
        worker.load(str(tmp_path / f"missing {n}"))
    worker.load(str(tiny_model))
    reader.next(ModelFrame)
    assert sum(isinstance(frame, ErrorFrame) for frame in reader.frames) <= 1


def test_pausing_a_run_that_has_not_begun_stops_it_at_its_start(worker: Worker, reader: Reader, tiny_model) -> None:
    worker.load(str(tiny_model))
    worker.run(request(tokens=LONG))
    worker.pause()
    assert reader.paused().step == 0


def test_a_run_that_was_stopped_before_it_began_never_begins(worker: Worker, reader: Reader, tiny_model) -> None:
    worker.load(str(tiny_model))
    worker.run(request(tokens=LONG))
    worker.stop()
    worker.run(request("abc", tokens=1))
    assert len(reader.next(RunFrame).prompt) == 3


def test_a_watch_is_answered_at_every_stop_with_what_exists(worker: Worker, loaded: Reader) -> None:
    ticket = worker.watch("norms", AskResidualNorms())
    worker.run(request(armed="pause"))
    loaded.paused()
    loaded.next(AnswerFrame)
    for layers in (1, 2):
        worker.step("layer")
        loaded.paused()
        frame = loaded.next(AnswerFrame)
        assert (frame.key, frame.ticket) == ("norms", ticket)
        assert [int(n) for n in frame.answer.reach_mlp] == [5] * layers + [0] * (3 - layers)


def test_a_watch_is_answered_for_the_last_step(worker: Worker, loaded: Reader) -> None:
    worker.watch("maps", AskAttentionGrid(1))
    worker.run(request(tokens=3))
    loaded.next(EndFrame)
    answer = loaded.next(AnswerFrame).answer
    assert answer.n == len("hello") + 2
    assert np.allclose(answer.maps[:, -1].sum(axis=-1), 1.0, atol=1e-5)


def test_a_newer_question_of_the_same_key_wins(worker: Worker, loaded: Reader) -> None:
    worker.run(request(tokens=2))
    loaded.next(EndFrame)
    tickets = [worker.watch("maps", AskAttentionGrid(layer)) for layer in (0, 1, 2)]
    frame = loaded.until(lambda found: isinstance(found, AnswerFrame) and found.ticket == tickets[-1])
    assert frame.answer.layer == 2


def test_a_dropped_watch_is_silent(worker: Worker, loaded: Reader) -> None:
    worker.watch("maps", AskAttentionGrid(0))
    worker.watch("maps", None)
    worker.run(request(tokens=2))
    loaded.next(EndFrame)
    worker.ask("end", AskCacheState())
    assert loaded.next(AnswerFrame).key == "end"


def test_a_question_while_stopped_inside_a_layer(worker: Worker, loaded: Reader) -> None:
    worker.run(request(armed="layer"))
    loaded.paused()
    ticket = worker.ask("cache", AskCacheState())
    frame = loaded.next(AnswerFrame)
    assert frame.ticket == ticket
    assert list(frame.answer.lengths) == [5, 0, 0]


def test_a_question_that_makes_no_sense_is_an_error_not_the_end(worker: Worker, loaded: Reader) -> None:
    worker.run(request(tokens=1))
    loaded.next(EndFrame)
    worker.ask("bad", AskAttentionGrid(99))
    assert loaded.next(ErrorFrame).task == "question"
    worker.ask("good", AskCacheState())
    assert loaded.next(AnswerFrame).key == "good"


def test_other_sampling_counts_from_the_next_pass(worker: Worker, loaded: Reader) -> None:
    worker.run(request(tokens=3, armed="pause"))
    loaded.paused()
    worker.set_sampling(Sampling(seed=7))
    worker.step("token")
    loaded.paused()
    worker.resume()
    loaded.next(EndFrame)
    steps = [frame for frame in loaded.frames if isinstance(frame, StepFrame)]
    assert [step.sampling.greedy for step in steps] == [True, False, False]
    assert steps[-1].sampling.seed == 7


def test_cancelling_a_load(worker: Worker, reader: Reader, smollm2_gguf: Path) -> None:
    from engine.frames import ProgressFrame

    worker.load(str(smollm2_gguf))
    reader.next(ProgressFrame)
    worker.cancel_load()
    assert reader.next(CancelledFrame).task == "load"


@pytest.mark.parametrize("moment", ["at once", "while importing", "paused in a layer", "running"])
def test_quit_ends_the_thread_in_time(moment: str, tiny_model: Path) -> None:
    box = Mailbox()
    worker, reader = Worker(box, threads=1), Reader(box)
    if moment != "at once":
        worker.start()
    if moment in ("paused in a layer", "running"):
        worker.load(str(tiny_model))
        worker.run(request(tokens=LONG, armed="stage" if moment.startswith("paused") else None))
        reader.paused() if moment.startswith("paused") else reader.next(StepFrame)
    assert worker.quit()


def test_the_real_model_says_paris(worker: Worker, reader: Reader, smollm2_gguf: Path) -> None:
    worker.load(str(smollm2_gguf))
    worker.run(RunRequest("The capital of France is", GREEDY, 2))
    worker_step = reader.next(StepFrame)
    assert worker_step.piece.text == " Paris"
    assert worker_step.sampling.chosen_raw == pytest.approx(0.77254, abs=1e-4)


def test_edits_that_come_before_a_run_has_begun_hold_in_its_first_pass(worker: Worker, loaded: Reader) -> None:
    """Also where the run stops there: they do not wait for its end."""
    worker._commands.put(lambda: time.sleep(0.2))
    worker.run(request(armed="stage"))
    worker.set_edits((Edit("scale", "attn.hook_z", (0,), value=0.5),))
    loaded.next(EditsFrame)
    assert worker.where() is not None
    worker.resume()
    assert loaded.next(StepFrame).edited
