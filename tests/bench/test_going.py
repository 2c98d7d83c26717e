"""Going to another place: every kind of question is answered, every panel is shown. No test looks at a time."""

from __future__ import annotations

import engine
from tests.bench.going import DECODED, answers, lines, places, window
from tests.bench.going_kinds import RECORDED_MS, Kind, kinds
from tests.bench.machine import machine_facts


def test_every_kind_of_question_is_answered_and_timed() -> None:
    loaded = engine.load("demo", device="cpu", dtype="float32")
    ids = loaded.tokenizer.encode("Once upon a time, there was a little girl.")
    found = answers("demo", ids, 2, 1)
    assert [kind.what for kind, _ in found] == [kind.what for kind in kinds(loaded.model_frame())]
    for kind, rounds in found:
        assert len(rounds) == 2, kind
        assert all(0 < one["slice"] <= one["whole"] and one["first"] <= one["whole"] for one in rounds), kind


def test_places_differ_and_lie_within_the_run() -> None:
    found = list(places(5, 30, 1024))
    assert len(set(found)) == 5
    assert all(0 <= layer < 30 and 0 <= position < 1024 for layer, position in found)
    assert len({layer for layer, _ in found}) == 5


def test_the_window_goes_to_tokens_and_layers() -> None:
    shown = window("demo", "Once upon a time, there was a little girl.", 2, 1)
    assert {"Attention", "Activations", "KV cache"} <= set(shown)
    assert all(len(ways[way]) == 2 and min(ways[way]) > 0 for ways in shown.values() for way in ("token", "layer"))


def test_the_report_says_what_is_reached() -> None:
    kind = Kind("Panel", "a thing", lambda layer, at: None, RECORDED_MS)
    rounds = [{"first": 3.0, "whole": 20.0, "slice": 9.0}, {"first": 5.0, "whole": 100.0, "slice": 9.0}]
    facts = machine_facts() | {"model": "demo", "tokens": 7, "threads": 1}
    text = "\n".join(lines([(kind, rounds)], {"Panel": {"token": [1.0, 3.0], "layer": [2.0, 2.0]}}, facts))
    assert f"7 tokens and {DECODED} more" in text
    assert f"{4.0:>9.1f}{60.0:>9.1f}{100.0:>9.1f}{9.0:>8.1f}{50:>7} MISSED" in text
    assert f"{2.0:>9.1f}{3.0:>9.1f}{2.0:>9.1f}{2.0:>9.1f}" in text
