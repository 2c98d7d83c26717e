"""The benchmark of the record works on a tiny model, and judges its figures rightly. No test looks at a time."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from tests.bench import record
from tests.bench.job import RECORD_TITLES
from tests.bench.reach import REACHES, Reach, reached, with_shares

TINY = ["--lengths", "40", "--tokens", "5", "--rounds", "1", "--threads", "1", "--bandwidth-mib", "16"]
SMOLLM2 = {"n_layers": 30, "n_heads": 270, "d_mlp": 46_080, "d_model": 576, "d_vocab": 49_152, "pass_bytes": 538e6}


def test_sides_run_and_every_line_is_printed(
    tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(record, "_has_lens", lambda python: False)
    kept, sides = tmp_path / "figures.json", "arbef"  # c and d are those of the other benchmark
    assert record.main([*TINY, "--only", ",".join(sides), "--model", str(tiny_gguf), "--json", str(kept)]) == 0
    printed = capsys.readouterr().out
    wanted = (
        "Machine ", "Libraries ", "Model ", "40 tokens of prompt", "memory is read at",
        *(f"\n{side}  {RECORD_TITLES[side]}" for side in sides), *(reach.title for reach in REACHES),
        "left out: TransformerLens is not installed", "40 tokens: greedy tokens of a, r, b, e are equal",
    )  # fmt: skip
    assert [text for text in wanted if text not in printed] == []
    _check(json.loads(kept.read_text())["lengths"]["40"]["runs"])


def _check(runs: dict) -> None:
    stream = 45 * 4 * 32 * 4  # positions, boundaries, wide, float32
    assert all(len(runs[side][0]["passes"]) == 5 for side in "arbe")
    assert runs["a"][0]["kept"] == 0
    assert all(runs[side][0]["kept"] >= stream for side in "rb")
    maps = (40 * 40 + sum(range(41, 46))) * 3 * 4 * 4  # layers, heads, float32
    assert runs["e"][0]["kept"] == maps + stream


def test_transformer_lens_is_looked_for_in_the_interpreter_that_runs_it() -> None:
    assert record._has_lens(sys.executable) == (importlib.util.find_spec("transformer_lens") is not None)


def test_what_does_not_fit_is_left_out_with_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "_has_lens", lambda python: True)
    monkeypatch.setattr(record.psutil, "virtual_memory", lambda: type("Free", (), {"available": 10e9}))
    left_out = dict(record._left_out(record.Plan(""), 2048, SMOLLM2))
    assert list(left_out) == ["f"]
    assert left_out["f"].startswith("it needs 19.7 GB for 2,048 tokens, and 8.0 GB")
    assert set(dict(record._left_out(record.Plan(""), 4096, SMOLLM2))) == {"e", "f"}
    monkeypatch.setattr(record, "_has_lens", lambda python: False)
    assert set(dict(record._left_out(record.Plan(""), 4096, SMOLLM2))) == {"e", "f"}


@pytest.mark.parametrize(("side", "length", "measured"), [("f", 256, 547.7e6), ("e", 128, 26.8e6)])
def test_what_a_side_needs_is_what_it_was_measured_to_keep(side: str, length: int, measured: float) -> None:
    while_attending = 3 * 4 * 9 * length**2
    assert record.needed_bytes(side, length, SMOLLM2) - while_attending == pytest.approx(measured, rel=0.1)


def test_an_unknown_side_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        record.main(["--only", "a,x"])
    assert "'x' is none of a,r,b,c,d,e,f" in capsys.readouterr().err


def test_a_reach_is_judged_round_by_round_at_its_lengths() -> None:
    faster, slower = [{"decode": 40.0}, {"decode": 30.0}, {"decode": 60.0}], [{"decode": 20.0}] * 3
    lengths = {512: {"runs": {"b": faster, "e": slower}}, 1024: {"runs": {"b": slower, "e": faster}}}
    everywhere, there = (
        Reach("", "b", "e", "decode", least=1.7),
        Reach("", "b", "e", "decode", least=1.7, lengths=(512,)),
    )
    assert list(reached(there, lengths)) == [(512, 2.0)]
    assert [length for length, _ in reached(everywhere, lengths)] == [512, 1024]
    assert list(reached(Reach("", "f", "e", "decode", least=1), lengths)) == []
    assert (there.met(1.7), there.met(1.69), Reach("", "a", "r", "", most=1.1).met(1.11)) == (True, False, False)


def test_shares_of_bandwidth_and_of_the_stream() -> None:
    kept = 1032 * 31 * 576 * 4
    runs = {"r": [{"decode": 30.0, "kept": kept}], "bandwidth": [{"bandwidth": 538e6 * 40}]}
    with_shares({1024: {"runs": runs}}, SMOLLM2, 8)
    assert runs["r"][0]["of the bandwidth"] == pytest.approx(0.75)
    assert runs["r"][0]["of the stream"] == pytest.approx(1.0)
