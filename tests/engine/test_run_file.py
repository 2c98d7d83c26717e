"""The file of a run: what it holds, how it is written, and that every damage to it is one sentence."""

from __future__ import annotations

import json
import os
import struct
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.numpy
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine
from engine import questions as ask
from engine.errors import Cancelled, DiskError, EngineError, ModelNeeded
from engine.frames import NeedsModel, Saved
from engine.loading import Loaded
from engine.run_file_facts import Beside, Compared, Mark
from engine.run_file_opening import RunFile, open_run
from engine.run_file_saving import save_run, saving
from engine.run_file_tensors import pack, pack_arrays
from engine.settings import Record
from tests.engine.run_files import (
    answered,
    differences,
    kept_run,
    made,
    questions,
    refused,
    rewritten,
    saved,
    with_facts,
)
from tests.engine.tiny import tiny_llama

PLACELESS = {"position": None, "layer": None, "head": None}
PROMPT = [3 + i % 90 for i in range(147)]  # more than one block of 128 positions
LARGE = int(os.environ.get("FLUOROSCOPE_FUZZ", "0"))
QUIET = settings(
    deadline=None,
    database=None,
    derandomize=not LARGE,
    max_examples=10 * LARGE or 150,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    """A model of three layers whose texts have no end."""
    folder = tmp_path_factory.mktemp("endless")
    tiny_llama(folder, eos_token_id=None, bos_token_id=None, max_position_embeddings=512)
    return engine.load(folder, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def demo() -> Loaded:
    return engine.load("demo", device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def sound(loaded: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 155 tokens."""
    session, steps = made(loaded, PROMPT, 8)
    return saved(tmp_path_factory.mktemp("run") / "sound.fluoro", session, steps, max_new_tokens=8, reason="limit")


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model is ever found."""
    monkeypatch.setattr("engine.run_file_opening.find_model", lambda facts, others: None)


# ---- what it holds ---------------------------------------------------------------------------------------------------


def test_the_file_is_a_zip_of_json_and_safetensors_that_are_stored(sound: Path) -> None:
    with zipfile.ZipFile(sound) as members:
        assert members.testzip() is None
        assert {info.compress_type for info in members.infolist()} == {zipfile.ZIP_STORED}
        names = members.namelist()
        facts = json.loads(members.read("run.json"))
    assert names == ["run.json", "steps.safetensors", "stream/000000.safetensors", "stream/000001.safetensors"]
    assert (facts["format"], facts["version"]) == ("fluoroscope run", 2)
    assert len(facts["model"]["identity"]["config"]) == len(facts["model"]["identity"]["headers"]) == 64


def test_a_file_takes_little_more_than_the_record(sound: Path, loaded: Loaded) -> None:
    config, n = loaded.config, len(PROMPT) + 7
    stream = 4 * n * ((config.n_layers + 1) * config.d_model + 3 * config.n_layers + 1)
    steps = 8 * 65 * 80
    assert stream < sound.stat().st_size < stream + steps + 40_000


def test_tokens_steps_settings_notes_and_picture_come_back(loaded: Loaded, tmp_path: Path) -> None:
    session, steps = made(loaded, [5, 6, 7], 4, temperature=0.8, top_k=20, seed=10)
    session.sampling = replace(session.sampling, temperature=1.5)
    steps += [step.frame() for step in session.generate(None, 3)]
    notes, marks = (Mark("odd here", 2, 1, 0), Mark("all of it")), (Mark("", 4),)
    path = saved(tmp_path / "run.fluoro", session, steps, notes=notes, bookmarks=marks, thumbnail=b"\x89PNG", chat=True)
    opened = open_run(path, loaded=loaded)
    assert str(opened.steps) == str(tuple(steps))
    assert opened.prompt == session.prompt_pieces()
    assert opened.session.settings == session.settings
    assert [one.temperature for one in opened.session.settings] == [0.8] * 4 + [1.5] * 3
    assert (opened.facts.notes, opened.facts.bookmarks, opened.facts.branch.chat) == (notes, marks, True)
    with RunFile(path) as file:
        assert file.thumbnail == b"\x89PNG"


def test_a_note_on_a_place_that_the_run_lacks_is_kept_in_words(loaded: Loaded, tmp_path: Path) -> None:
    session, steps = made(loaded, [5, 6, 7], 2)
    notes = (Mark("last", 4, 2, 1), Mark("behind", 5, 1, 0), Mark("above", 0, 99), Mark("branch", once="token 9 “x”"))
    path = saved(tmp_path / "run.fluoro", session, steps, notes=notes, bookmarks=(Mark("", 1, 0, 99),))
    facts = open_run(path, loaded=loaded).facts
    assert facts.notes == (
        Mark("last", 4, 2, 1),
        Mark("behind", once="token 5, layer 1, head 0"),
        Mark("above", once="token 0, layer 99"),
        Mark("branch", once="token 9 “x”"),
    )
    assert facts.bookmarks == (Mark("", once="token 1, layer 0, head 99"),)


def test_notes_of_older_files_are_read(loaded: Loaded, tmp_path: Path) -> None:
    session, steps = made(loaded, [5, 6, 7], 2)
    path = saved(tmp_path / "new.fluoro", session, steps, notes=(Mark("here", 2, 1, 0),))
    old = rewritten(path, tmp_path / "old.fluoro", with_facts(lambda t: [note.pop("once") for note in t["notes"]]))
    assert open_run(old, loaded=loaded).facts.notes == (Mark("here", 2, 1, 0),)


def test_a_run_that_has_no_step_yet_is_saved_too(loaded: Loaded, tmp_path: Path) -> None:
    session = engine.Session(loaded)
    session.begin([3, 4, 5])
    opened = open_run(saved(tmp_path / "run.fluoro", session, []), loaded=loaded)
    assert (opened.session.prompt, opened.session.output) == ([3, 4, 5], [])
    assert [step.id for step in opened.session.generate(None, 3)] == [step.id for step in session.generate(None, 3)]


def test_the_built_in_model_is_found_by_its_name_and_answers_as_before(demo: Loaded, tmp_path: Path) -> None:
    session, steps = made(demo, "3 + 4 =", 12, temperature=1.1, seed=2)
    opened = open_run(saved(tmp_path / "run.fluoro", session, steps))
    assert opened.why == ""
    assert opened.loaded is not demo
    assert opened.model_frame.name == demo.name
    for question in questions(demo, session.n_read):
        live, again = answered(session, question), answered(opened.session, question)
        assert not differences(live, again, 1e-5, but=("source", "bytes_allocated")), question
    further = [step.text for step in session.generate(None, 8)]
    assert [step.text for step in opened.session.generate(None, 8)] == further


def test_dropped_blocks_stay_dropped_and_are_made_again(loaded: Loaded, tmp_path: Path) -> None:
    session = engine.Session(loaded, engine.Sampling(greedy=True), record=Record(memory=0, beyond="drop"))
    steps = [step.frame() for step in session.generate(PROMPT, 6)]
    path = saved(tmp_path / "run.fluoro", session, steps)
    opened = open_run(path, loaded=loaded)
    assert session.trace.use().dropped == opened.session.trace.use().dropped == 128
    whole, _ = made(loaded, PROMPT, 6)
    for question in (ask.AskResidualVectors(5), ask.AskAttentionRow(1, 20), ask.AskResidualNorms()):
        assert not differences(whole.answer(question), opened.session.answer(question), 1e-5, but=("source",)), question


def test_a_record_larger_than_its_memory_goes_to_disk_when_it_is_opened(sound: Path, loaded: Loaded) -> None:
    opened = open_run(sound, loaded=loaded, record=Record(memory=0, beyond="disk"))
    use = opened.session.trace.use()
    assert use.disk > 0
    assert use.dropped == 0


@pytest.mark.usefixtures("absent")
def test_what_was_dropped_needs_the_model(loaded: Loaded, tmp_path: Path) -> None:
    session = engine.Session(loaded, engine.Sampling(greedy=True), record=Record(memory=0, beyond="drop"))
    steps = [step.frame() for step in session.generate(PROMPT, 6)]
    opened = open_run(saved(tmp_path / "run.fluoro", session, steps))
    assert opened.session.answer(ask.AskResidualVectors(5)) == NeedsModel(opened.why)
    assert not isinstance(opened.session.answer(ask.AskResidualVectors(150)), NeedsModel)


# ---- edited runs -----------------------------------------------------------------------------------------------------


def edited_run(loaded: Loaded) -> tuple[engine.Session, list[Any]]:
    """The second pass has a layer's z replaced, the others are plain."""
    session = engine.Session(loaded, engine.Sampling(greedy=True))
    steps = [step.frame() for step in session.generate([3, 4, 5, 6], 1)]
    with loaded.model.hooks({"blocks.1.attn.hook_z": lambda tensor, point: tensor * 0.5}):
        steps += [step.frame() for step in session.generate(None, 1)]
    return session, steps + [step.frame() for step in session.generate(None, 2)]


def test_an_edited_run_keeps_its_record_and_cache_and_refuses_what_lay_behind_the_edit(
    loaded: Loaded, tmp_path: Path
) -> None:
    session, steps = edited_run(loaded)
    path = saved(tmp_path / "run.fluoro", session, steps)
    with zipfile.ZipFile(path) as members:
        assert "cache.safetensors" in members.namelist()
    opened = open_run(path, loaded=loaded)
    for question in (ask.AskResidualNorms(), ask.AskResidualVectors(4), ask.AskCacheVectors(2, 4)):
        assert not differences(session.answer(question), opened.session.answer(question)), question
    for layer in range(loaded.config.n_layers):
        for mine, its in zip(session.cache.parts(layer), opened.session.cache.parts(layer), strict=True):
            assert torch.equal(mine, its)
    point = ask.AskPoint("blocks.1.attn.hook_z", 4)
    assert "does not keep hooks" in opened.session.answer(point).sentence
    assert "does not keep hooks" not in opened.session.answer(replace(point, position=5)).sentence
    assert [step.id for step in opened.session.generate(None, 4)] == [step.id for step in session.generate(None, 4)]


@pytest.mark.usefixtures("absent")
def test_the_cache_of_an_edited_run_is_shown_without_the_model(loaded: Loaded, tmp_path: Path) -> None:
    session, steps = edited_run(loaded)
    opened = open_run(saved(tmp_path / "run.fluoro", session, steps))
    question = ask.AskExactValue("key", (2, 0, 4, 3))
    assert isinstance(session.answer(question).value, float)
    assert session.answer(ask.AskCacheState()).bytes_now == opened.session.answer(ask.AskCacheState()).bytes_now


# ---- which model -----------------------------------------------------------------------------------------------------


def test_another_model_under_the_same_name_is_refused(
    sound: Path, loaded: Loaded, demo: Loaded, tmp_path: Path
) -> None:
    changed = with_facts(lambda table: table["model"]["identity"].update(headers="0" * 64))
    path = rewritten(sound, tmp_path / "other.fluoro", changed)
    opened = open_run(path, loaded=loaded)
    assert f"{loaded.source} is another one now" in opened.why
    assert open_run(sound, loaded=demo).loaded is not demo


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("smollm2-that-is-not", "was opened from smollm2-that-is-not; open it here once"),
        ("gpt2", "which is not on this computer; fluoroscope fetch gpt2 brings it"),
        ("some/model@main", "which is not on this computer; fluoroscope fetch some/model@main brings it"),
        ("//elsewhere/share/model", "was opened from //elsewhere/share/model"),
        ("", "was opened from "),
    ],
)
def test_a_missing_model_is_named_with_the_way_to_get_it(
    sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    monkeypatch.setenv("FLUOROSCOPE_CACHE", str(tmp_path / "cache"))
    path = rewritten(sound, tmp_path / "run.fluoro", with_facts(lambda table: table["model"].update(source=source)))
    opened = open_run(path)
    assert words in opened.why
    assert opened.why.startswith(f"What is not recorded takes the model {opened.model_frame.name}")
    assert opened.session.answer(ask.AskAttentionGrid(0)) == NeedsModel(opened.why)


def test_the_model_is_looked_for_where_else_it_may_lie(sound: Path, loaded: Loaded, tmp_path: Path) -> None:
    path = rewritten(sound, tmp_path / "run.fluoro", with_facts(lambda table: table["model"].update(source="gone")))
    assert open_run(path).why
    assert open_run(path, others=("demo", loaded.source)).why == ""


@pytest.mark.usefixtures("absent")
def test_nothing_can_be_run_without_the_model(sound: Path) -> None:
    opened = open_run(sound)
    for attempt in (
        lambda: opened.session.begin([3]),
        lambda: opened.session.steps(3),
        lambda: opened.session.check_room(),
    ):
        with pytest.raises(ModelNeeded, match="takes the model"):
            attempt()


# ---- writing ---------------------------------------------------------------------------------------------------------


def test_a_save_that_is_cancelled_leaves_the_file_that_was_there(loaded: Loaded, tmp_path: Path) -> None:
    session, steps = made(loaded, PROMPT, 3)
    path = tmp_path / "run.fluoro"
    path.write_bytes(b"before")

    def stop(done: int, total: int) -> None:
        if done:
            raise Cancelled

    with pytest.raises(Cancelled):
        save_run(path, session, steps, progress=stop)
    work = saving(session, path, steps, Beside())
    next(work)
    work.close()
    assert [found.name for found in tmp_path.iterdir()] == ["run.fluoro"]
    assert path.read_bytes() == b"before"


def test_a_full_disk_is_a_sentence_and_no_half_file(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, steps = made(loaded, PROMPT, 3)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="could not be saved: No space left on device"):
        save_run(tmp_path / "run.fluoro", session, steps)
    assert list(tmp_path.iterdir()) == []


def test_halves_that_a_killed_program_left_go_with_the_next_save(loaded: Loaded, tmp_path: Path) -> None:
    session, steps = made(loaded, [1, 2, 3], 2)
    old, new, *others = ".a[1].fluoro.abcd_f12", ".a[1].fluoro.bbbbbbbb", ".a[1].fluoro.notes", ".b.fluoro.abcdefgh"
    for name in (old, new, *others):
        (tmp_path / name).write_bytes(b"half")
    for name in (old, *others):
        os.utime(tmp_path / name, (1, 1))
    saved(tmp_path / "a[1].fluoro", session, steps)
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted([new, *others, "a[1].fluoro"]), "one may still be written"


def test_a_disk_without_room_is_found_before_it_is_written_to(
    loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, steps = made(loaded, PROMPT, 3)
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("engine.run_file_zip.shutil.disk_usage", lambda path: usage)
    with pytest.raises(DiskError, match=r"needs .* MB and the disk has 1 kB"):
        save_run(tmp_path / "run.fluoro", session, steps)


def test_a_folder_that_is_not_there_is_a_sentence(loaded: Loaded, tmp_path: Path) -> None:
    session, steps = made(loaded, PROMPT, 3)
    for path in (tmp_path / "none" / "run.fluoro", tmp_path):
        with pytest.raises(DiskError, match=r"could not be saved: .*; save it in another folder"):
            save_run(path, session, steps)


def test_a_run_without_a_record_cannot_be_saved(loaded: Loaded, tmp_path: Path) -> None:
    session = engine.Session(loaded, record=False)
    steps = [step.frame() for step in session.generate([3, 4], 2)]
    with pytest.raises(EngineError, match="was not recorded"):
        save_run(tmp_path / "run.fluoro", session, steps)


def test_it_is_saved_as_it_stood_though_the_run_goes_on(loaded: Loaded, tmp_path: Path) -> None:
    session, steps = made(loaded, PROMPT, 3)

    work = saving(session, tmp_path / "run.fluoro", steps, Beside())
    further = []
    for _ in range(4):
        next(work)
        further += [step.id for step in session.generate(None, 2)]
    for _ in work:
        pass
    opened = open_run(tmp_path / "run.fluoro", loaded=loaded)
    assert len(opened.steps) == 3
    assert [step.id for step in opened.session.generate(None, 8)] == further


def test_saving_is_an_answer_with_partial_ones(loaded: Loaded, tmp_path: Path) -> None:
    session, steps = made(loaded, PROMPT, 3)
    path = tmp_path / "run.fluoro"
    work, parts = session.answering(ask.AskSaved(str(path), steps, Beside())), []
    while True:
        try:
            parts.append(next(work))
        except StopIteration as done:
            answer = done.value
            break
    assert isinstance(answer, Saved)
    assert answer.done == answer.size == path.stat().st_size
    assert all(isinstance(part, Saved) and part.done <= part.size for part in parts)


def test_opening_can_be_cancelled(sound: Path, loaded: Loaded) -> None:
    def stop(frame: Any) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        open_run(sound, loaded=loaded, progress=stop)


# ---- damage ----------------------------------------------------------------------------------------------------------


def test_what_is_no_run_file_is_refused(tmp_path: Path, sound: Path) -> None:
    for name, data in (
        ("empty", b""),
        ("text", b"hello" * 100),
        ("png", b"\x89PNG\r\n" * 20),
        ("pickle", b"\x80\x04."),
    ):
        path = tmp_path / f"{name}.fluoro"
        path.write_bytes(data)
        assert "it is no zip, or was cut off" in refused(path)
    assert "cannot be read" in refused(tmp_path / "missing.fluoro")
    assert "is no file" in refused(tmp_path)
    other = tmp_path / "other.zip"
    with zipfile.ZipFile(other, "w") as members:
        members.writestr("a", "b")
    assert "it lacks run.json" in refused(other)


def test_a_file_that_was_cut_off_anywhere_is_refused(sound: Path, tmp_path: Path) -> None:
    data = sound.read_bytes()
    for count in (10, 100, 5_000, len(data) // 2, len(data) - 30, len(data) - 1):
        path = tmp_path / "cut.fluoro"
        path.write_bytes(data[:count])
        refused(path)


def test_a_newer_version_says_so(sound: Path, tmp_path: Path) -> None:
    path = rewritten(sound, tmp_path / "newer.fluoro", with_facts(lambda table: table.update(version=3, more="x")))
    assert "its version is 3, and this Fluoroscope reads version 2; update Fluoroscope" in refused(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.update(format="other"), "does not say that it is a run"),
        (lambda t: t.update(version="1"), "does not say that it is a run"),
        (lambda t: t.update(version=0), "does not say that it is a run"),
        (lambda t: t.pop("saved"), "run.json does not hold what it should"),
        (lambda t: t.update(extra=1), "run.json does not hold what it should"),
        (lambda t: t["model"].update(dtype="float8"), "it was computed in"),
        (lambda t: t["model"]["config"].update(d_model=0), "none that can exist"),
        (lambda t: t["model"]["config"].update(d_model=10**12), "none that can exist"),
        (lambda t: t["model"]["config"].update(layers=[]), "none that can exist"),
        (lambda t: t["model"]["config"]["layers"][0]["attention"].update(n_kv_heads=3), "none that can exist"),
        (lambda t: t["model"]["config"]["layers"][0]["attention"].update(rope="other"), "none that can exist"),
        (lambda t: t["model"]["config"]["layers"][0]["attention"].update({"is": "Other"}), "does not hold"),
        (lambda t: t["branches"].append(t["branches"][0]), "has 2 paths, and a run stands on one"),
        (lambda t: t["branches"][0].update(n_read=3), "counts of tokens do not fit"),
        (lambda t: t["branches"][0].update(n_tokens=10**9, n_read=10**9 - 1), "counts of tokens do not fit"),
        (lambda t: t["branches"][0].update(n_prompt=True), "does not hold what it should"),
        (lambda t: t["branches"][0]["sampling"].update(temperature=-1.0), "does not hold what it should"),
        (lambda t: t["branches"][0]["cache"].update(firsts=[0]), "of the cache does not fit"),
        (lambda t: t["branches"][0]["cache"].update(stored=True), "it lacks 'cache.safetensors'"),
        (lambda t: t["notes"].append({"is": "Mark", "text": "x", "position": 999, "layer": 0, "head": 0}), "a note"),
        (lambda t: t["notes"].extend([{"is": "Mark", "text": "", **PLACELESS}] * 10_001), "its notes are too many"),
        (lambda t: t["bookmarks"].append({"is": "Mark", "text": "x" * 20_001, **PLACELESS}), "too many or too long"),
        (lambda t: t["notes"].append({"is": "Mark", "text": "x", **PLACELESS, "once": 3}), "does not hold"),
        (lambda t: t["model"]["config"].update(d_model=16), "stream/000000.safetensors"),
    ],
)  # fmt: skip
def test_facts_that_lie_are_refused(sound: Path, tmp_path: Path, change: Any, words: str) -> None:
    sentence = refused(rewritten(sound, tmp_path / "lies.fluoro", with_facts(change)))
    assert words in sentence
    assert sentence.startswith("lies.fluoro is not a sound run file: ")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("run.json", lambda data: data[:-20], "is not valid JSON"),
        ("run.json", lambda data: b"[" * 100_000, "run.json"),
        ("run.json", lambda data: b'{"format": 1, "format": 1}', "a name occurs twice"),
        ("run.json", lambda data: b" " * 2**24 + data, "should have at most"),
        ("run.json", lambda data: None, "it lacks run.json"),
        ("steps.safetensors", lambda data: None, "it lacks 'steps.safetensors'"),
        ("steps.safetensors", lambda data: b"\xff" * 8 + data[8:], "the tensors in steps.safetensors are damaged"),
        ("steps.safetensors", lambda data: data[:-8], "the tensors in steps.safetensors are damaged"),
        ("stream/000001.safetensors", lambda data: None, "it lacks 'stream/000001.safetensors'"),
        ("stream/000000.safetensors", lambda data: data + b"\0" * 2**20, "should have at most"),
        ("stream/000000.safetensors", lambda data: pack({"norms": torch.zeros(10, 3)}), "is F32 of shape [10, 3]"),
        ("stream/000000.safetensors", lambda data: pack({"other": torch.zeros(1)}), "holds other tensors"),
    ],
)  # fmt: skip
def test_members_that_lie_are_refused(sound: Path, tmp_path: Path, name: str, change: Any, words: str) -> None:
    assert words in refused(rewritten(sound, tmp_path / "lies.fluoro", {name: change}))


def add(path: Path, name: str, data: bytes, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "a") as members:
        members.writestr(name, data, compression)
    return path


def test_a_file_of_the_first_programs_has_no_columns_for_what_came_later(
    sound: Path, loaded: Loaded, tmp_path: Path
) -> None:
    def older(data: bytes) -> bytes:
        columns = safetensors.numpy.load(data)
        later = [name for name in columns if name.endswith((".edited", ".by_hand"))]
        assert len(later) == 2
        return pack_arrays({name: column for name, column in columns.items() if name not in later})

    opened = open_run(rewritten(sound, tmp_path / "older.fluoro", {"steps.safetensors": older}), loaded=loaded)
    assert [step.edited or step.sampling.by_hand for step in opened.steps] == [False] * len(opened.steps)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zips_that_lie_are_refused(sound: Path, tmp_path: Path) -> None:
    def copy(name: str) -> Path:
        return rewritten(sound, tmp_path / f"{name}.fluoro", {})

    assert "does not belong into it" in refused(add(copy("path"), "../../evil", b"x"))
    assert "does not belong into it" in refused(add(copy("more"), "stream/000002.safetensors", b"x"))
    assert "is in it twice" in refused(add(copy("twice"), "run.json", b"{}"))
    assert "packed by another program" in refused(add(copy("bomb"), "x", b"\0" * 2**22, zipfile.ZIP_DEFLATED))
    many = copy("many")
    with zipfile.ZipFile(many, "a") as members:
        for index in range(70_000):
            members.writestr(f"{index}", b"")
    assert "its list of members claims 70004 members" in refused(many)
    comment = copy("comment")
    with zipfile.ZipFile(comment, "a") as members:
        members.comment = b"hello"
    assert "was cut off" in refused(comment)


def test_sizes_that_the_file_does_not_have_are_refused(sound: Path, tmp_path: Path) -> None:
    """A member claims four gigabytes, in the list and in its own header alike."""
    data = bytearray(sound.read_bytes())
    for signature, offset in ((b"PK\1\2", 20), (b"PK\3\4", 18)):
        place = data.rindex(signature) + offset
        data[place : place + 8] = struct.pack("<2L", 2**32 - 2, 2**32 - 2)
    path = tmp_path / "huge.fluoro"
    path.write_bytes(data)
    assert "its members claim" in refused(path)


def test_a_flipped_bit_is_found_by_the_sums(sound: Path, tmp_path: Path) -> None:
    data = bytearray(sound.read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / "flipped.fluoro"
    path.write_bytes(data)
    assert "its zip is damaged (Bad CRC-32" in refused(path)


def opened_or_refused(path: Path, loaded: Loaded | None = None) -> None:
    """Whatever a file says: a sentence within a second, or a run whose every answer is one, on every branch."""
    began, sentence, opened = time.perf_counter(), "", None
    try:
        opened = open_run(path, loaded=loaded)
    except EngineError as error:
        sentence = str(error)
    assert time.perf_counter() - began < 1.0
    assert opened is not None or sentence.endswith(".")
    for branch in () if opened is None else opened.session.tree().branches:
        opened.session.switch(branch.number)
        if opened.session.n_read:
            for question in questions(opened.session.loaded, opened.session.n_read):
                answered(opened.session, question)


@pytest.fixture(scope="module")
def small(demo: Loaded, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run of a mixture of experts, so with routing, and with two branches; its model is not to be found."""
    run = kept_run(demo, "3 + 4 =", 3)
    run.branch(1)
    run.on(3)
    folder = tmp_path_factory.mktemp("small")
    beside = Beside(notes=(Mark("a", 1, 2, 0), Mark("b", 8, 1, branch=0)), compared=Compared(0, 1, "A"))
    whole = folder / "whole.fluoro"
    save_run(whole, run.session, run.steps, beside, others=run.frames)
    return rewritten(whole, folder / "small.fluoro", with_facts(lambda t: t["model"].update(source="gone")))


@QUIET
@given(data=st.data())
def test_bytes_that_were_changed_end_in_a_sentence_or_change_nothing(
    small: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(small.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1) | st.integers(len(whole) - 700, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(0) | st.integers(0, 2000))
    path = tmp_path_factory.getbasetemp() / "bytes.fluoro"
    path.write_bytes(whole[: len(whole) - cut])
    opened_or_refused(path)


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.sampled_from([2**31, 2**63, -1, 10**30, "nan", "inf", "", "x", [], {}, 0.5, 1e308]),
)


@QUIET
@given(data=st.data())
def test_facts_that_were_changed_end_in_a_sentence_or_make_sense(
    small: Path, demo: Loaded, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    def change(table: dict[str, Any]) -> None:
        for _ in range(data.draw(st.integers(1, 2))):
            place: Any = table
            while True:
                keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
                if not keys:
                    return
                key = data.draw(st.sampled_from(keys))
                if not isinstance(place[key], dict | list) or data.draw(st.integers(0, 6)) == 0:
                    place[key] = data.draw(ODD)
                    break
                place = place[key]

    path = rewritten(small, tmp_path_factory.getbasetemp() / "facts.fluoro", with_facts(change))
    opened_or_refused(path, data.draw(st.sampled_from([None, demo])))


@QUIET
@given(data=st.data())
def test_tensors_that_were_changed_end_in_a_sentence_or_make_sense(
    small: Path, demo: Loaded, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Under a right sum: in headers, and in the columns of tokens and choices."""
    with zipfile.ZipFile(small) as members:
        names = [name for name in members.namelist() if name.endswith(".safetensors")]

    def change(before: bytes) -> bytes:
        changed = bytearray(before)
        header = 8 + int.from_bytes(before[:8], "little")
        for _ in range(data.draw(st.integers(1, 6))):
            last = data.draw(st.sampled_from([header, len(changed)])) - 1
            changed[data.draw(st.integers(0, last))] = data.draw(st.integers(0, 255))
        return bytes(changed)

    name = data.draw(st.sampled_from(names))
    path = rewritten(small, tmp_path_factory.getbasetemp() / "tensors.fluoro", {name: change})
    opened_or_refused(path, data.draw(st.sampled_from([None, demo])))


@pytest.mark.usefixtures("absent")
def test_without_the_model_recorded_points_are_shown_and_others_say_which_model_they_need(sound: Path) -> None:
    opened = open_run(sound)
    listed = opened.session.answer(ask.AskPoints(1, 7))
    assert (listed.known == opened.session.n_read).all()
    stream = opened.session.answer(ask.AskPoint("blocks.1.hook_resid_pre", 7))
    assert torch.equal(torch.from_numpy(stream.values[0]), opened.session.trace.residual(1, 7, 8)[0])
    assert stream.source == "captured"
    over = opened.session.answer(ask.AskPointOver("blocks.1.hook_resid_post", 0, 0, None))
    assert over.shape[0] == opened.session.n_read
    for question in (
        ask.AskPoint("blocks.1.attn.hook_q", 7),
        ask.AskPointOver("blocks.1.attn.hook_q", 0, 0, None),
        ask.AskWorked("blocks.1.attn.hook_q", 7, (0, 0)),
    ):
        assert opened.session.answer(question).sentence == opened.why
    exact = ask.AskExactValue("point", (7, 3), "blocks.1.hook_resid_pre")
    assert opened.session.answer(exact).value == float(stream.values[0, 3])
