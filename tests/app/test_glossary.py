"""The glossary: the entries that must be there, links, search, marked words, and facts held against the engine."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import resources
from app.engine_words import STAGES, Translate, stage_title
from app.glossary import FILE, Glossary, glossary, term_of
from app.languages import LANGUAGES, PARTS, read_part
from app.panels import PANELS
from app.term_rows import TextsError
from engine.cache import KVCache
from engine.config import entries_per_position
from engine.model.norm import Norm
from engine.point_code import SAMPLING_CODE
from engine.sampling_stages import Context, min_p, repetition, temperature, top_k, top_p, typical_p
from engine.settings import Sampling
from tests.engine.test_point_code import config_of, random_model

ASKED = (
    "token", "embedding", "residual-stream", "hidden-state", "query", "key", "value", "head", "gqa", "mqa", "mla",
    "rope", "causal-mask", "softmax", "kv-cache", "prefill", "decode", "mlp", "gate", "expert", "router", "logits",
    "temperature", "top-k", "top-p", "min-p", "typical-p", "repetition-penalty", "presence-penalty",
    "frequency-penalty", "logit-lens", "entropy", "attention-sink",
)  # fmt: skip


def test_every_term_that_people_ask_for_is_there() -> None:
    assert set(ASKED) <= glossary().terms.keys()
    assert len(glossary().terms) >= 60


@pytest.mark.parametrize("key", glossary().terms)
def test_an_entry_is_whole(key: str) -> None:
    term, panels = glossary().terms[key], {panel.key for panel in PANELS}
    assert term.key == key
    assert 20 <= len(term.story) <= 260, "a story fits into a tool tip"
    assert term.story != term.definition
    assert term.sources, "where it is from"
    assert term.seen.keys() <= panels
    assert all(term.seen.values())
    assert key not in term.see
    for text in (term.story, term.definition, *filter(None, [term.mistake])):
        assert text[-1] in ".”)", text
        assert "  " not in text


def stage_names(where: str) -> list[str]:
    """Those that a text like "the stages norm 1, norm 2 and final norm" names; [] for one that names none."""
    found = re.search(r"the stages? (?!of)(?:from )?(.+)$", where)
    return re.split(r", | and | to ", found[1]) if found else []


def stage_titles(panel: str, tr: Translate) -> dict[str, str]:
    """What the buttons and rows of a panel say, by the English name."""
    of_attention = ("Q·Kᵀ", "scale", "mask", "softmax", "× V")
    if panel == "layers":
        return {name: stage_title(name, tr) for name in (*STAGES, "q k v")}
    return {name: tr(name) for name in (of_attention if panel == "attention" else SAMPLING_CODE)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_stages_are_called_by_the_names_that_the_window_has(language: str) -> None:
    table, told = ({}, {}) if language == "en" else (read_part(language, part) for part in PARTS[:2])
    named = 0
    for term in glossary().terms.values():
        for panel, where in term.seen.items():
            titles = stage_titles(panel, lambda text: table.get(text, text))
            for name in stage_names(where):
                assert titles[name] in told.get(where, where), (term.key, where)
                named += 1
    assert named > 20


def test_names_and_words_are_not_used_twice() -> None:
    names = [term.name.casefold() for term in glossary().terms.values()]
    assert len(set(names)) == len(names)
    owners: dict[str, set[str]] = {}
    for term in glossary().terms.values():
        for word in term.marks:
            owners.setdefault(word.casefold(), set()).add(term.key)
    assert {word: keys for word, keys in owners.items() if len(keys) > 1} == {}


def test_every_entry_can_be_reached_by_links() -> None:
    terms = glossary().terms
    linked = {key for term in terms.values() for key in term.see}
    linked |= {key for term in terms.values() for _, key in glossary().marked(term.definition, term.key)}
    assert terms.keys() - linked == set()


# -- search and marks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("top p", "top-p"),
        ("TOP-P", "top-p"),
        ("gqa", "gqa"),
        ("nucleus", "top-p"),
        ("kv", "kv-cache"),
        ("BOS", "special-token"),
        ("residual", "residual-stream"),
        ("grouped att", "gqa"),
    ],
)
def test_a_search_finds_what_is_meant_first(words: str, first: str) -> None:
    assert glossary().found(words)[0].key == first


def test_a_search_looks_into_explanations_and_may_find_nothing() -> None:
    assert "mqa" in [term.key for term in glossary().found("falcon")]
    assert glossary().found("zzzz") == ()
    assert len(glossary().found("  ")) == len(glossary().terms)
    assert glossary().found("(" * 500) == ()


def test_words_are_marked_once_and_whole() -> None:
    pieces = list(glossary().marked("The KV cache keeps keys; the key caches nothing, a keyhole is no key.", "value"))
    assert (
        "".join(piece for piece, _ in pieces) == "The KV cache keeps keys; the key caches nothing, a keyhole is no key."
    )
    assert [(piece, key) for piece, key in pieces if key] == [("KV cache", "kv-cache"), ("keys", "key")]
    assert [key for _, key in glossary().marked("The KV cache", "kv-cache") if key] == []


def test_an_unknown_term_has_no_entry() -> None:
    assert term_of("no such term") is None


# -- damaged -------------------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes other rows in the place of the glossary's file, and reads it."""
    rows = json.loads(resources.path(FILE).read_bytes())

    def read(change: Any) -> Glossary:
        change(rows)
        (tmp_path / "terms.json").write_text(json.dumps(rows))
        monkeypatch.setattr(resources, "path", lambda name: tmp_path / "terms.json")
        return glossary()

    glossary.cache_clear()
    yield read
    glossary.cache_clear()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda rows: rows.append(rows[0]), "twice"),
        (lambda rows: rows[0].update(see=["nowhere"]), "refers to 'nowhere'"),
        (lambda rows: rows[0].update(seen=["attention"]), "is seen"),
        (lambda rows: rows[0].update(seen={"attention": 3}), "is seen"),
        (lambda rows: rows[0].pop("definition"), "definition of"),
        (lambda rows: rows[0].update(also=[""]), "also of"),
    ],
)
def test_a_damaged_glossary_is_refused_with_a_sentence(damaged: Any, change: Any, why: str) -> None:
    with pytest.raises(TextsError, match=f"{why}.*install Fluoroscope again"):
        damaged(change)


# -- what entries say, held against the engine ---------------------------------------------------------------------

LOGITS = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()


def kept(cut: Any, **settings: float) -> list[int]:
    return cut(LOGITS, Context(Sampling(**settings), (), ())).nonzero().flatten().tolist()  # type: ignore[arg-type]


def test_top_p_keeps_the_token_that_crosses_the_line() -> None:
    """ "The smallest set … whose probability together reaches p"; not "up to a sum of at most p"."""
    assert kept(top_p, top_p=0.5) == [0, 1], "0.4 does not reach 0.5; 0.4 + 0.3 goes beyond it"
    assert kept(top_p, top_p=0.35) == [0]
    assert kept(top_p, top_p=1e-6) == [0], "at least one token is always kept"
    assert kept(top_p, top_p=0.95) == [0, 1, 2, 3]


def test_top_k_keeps_ties_and_min_p_is_a_share_of_the_best() -> None:
    tied = torch.tensor([2.0, 1.0, 1.0, 0.0])
    assert top_k(tied, Context(Sampling(top_k=2), (), ())).tolist() == [True, True, True, False]
    assert kept(min_p, min_p=0.49) == [0, 1, 2], "0.2 is half of 0.4"


def test_typical_p_may_strike_off_the_most_probable() -> None:
    logits = torch.tensor([0.35, *[0.65 / 65] * 65]).log()
    seen = typical_p(logits, Context(Sampling(typical_p=0.5), (), ()))
    assert not bool(seen[0])
    assert bool(seen[1:].any())


def test_temperature_keeps_the_order_and_the_repetition_penalty_counts_the_prompt() -> None:
    hot = temperature(LOGITS, Context(Sampling(temperature=3.0), (), ()))
    assert hot.argsort(descending=True).tolist() == [0, 1, 2, 3]
    logits = torch.tensor([2.0, -2.0, 1.0])
    after = repetition(logits, Context(Sampling(repetition_penalty=2.0), (0, 1), (1,)))
    assert after.tolist() == [1.0, -4.0, 1.0]


def test_greedy_and_temperature_0_are_the_same_and_penalties_still_apply() -> None:
    from engine.sampling_stages import STAGES

    for settings in (Sampling(greedy=True, presence_penalty=1.0, top_k=3), Sampling(temperature=0, presence_penalty=1)):
        active = [stage.name for stage in STAGES if stage.active(settings)]
        assert active == ["presence", "greedy"]


def test_query_head_h_reads_kv_head_h_over_the_group() -> None:
    spec = config_of("llama-default").layers[0].attention
    assert (spec.n_heads, spec.n_kv_heads) == (4, 2)
    model = random_model(config_of("llama-default"))
    stored = torch.arange(2.0).view(1, 2, 1, 1)
    attn = model.layers[0].attn
    read = [int(attn.head_part(stored, h)) for h in range(4)]
    assert read == [h // (spec.n_heads // spec.n_kv_heads) for h in range(4)] == [0, 0, 1, 1]


def test_the_cache_counts_kv_heads_and_keeps_rotated_keys() -> None:
    config = config_of("llama-default")
    spec = config.layers[0].attention
    assert entries_per_position(config, 0) == 2 * spec.n_kv_heads * spec.d_head
    model, cache, seen = random_model(config), KVCache(config), {}
    names = ("blocks.0.attn.hook_k", "blocks.0.attn.hook_rot_k")
    with model.hooks({name: lambda tensor, point: seen.__setitem__(point.name, tensor.clone()) for name in names}):
        model(torch.tensor([[5, 6, 7, 8]]), cache)
    stored = cache.keys(0).transpose(1, 2)
    assert torch.equal(stored, seen[names[1]])
    assert not torch.allclose(stored, seen[names[0]], atol=1e-3)


def test_rope_makes_products_depend_on_the_distance_alone() -> None:
    from engine.model.rope import rotate

    config = config_of("llama-default")
    model = random_model(config)
    x = torch.randn(1, 1, 1, config.layers[0].attention.d_head)
    y = torch.randn_like(x)
    rope = model.ropes[config.layers[0].attention.rope]

    def product(query: int, key: int) -> float:
        turned = [rotate(part, rope.turn(p, p + 1, 64, x)) for part, p in ((x, query), (y, key))]
        return float((turned[0] * turned[1]).sum())

    assert product(9, 4) == pytest.approx(product(25, 20), abs=1e-4)
    assert abs(product(9, 4) - product(9, 7)) > 1e-3


def test_rmsnorm_does_not_centre_and_the_lens_needs_the_final_norm() -> None:
    model = random_model(config_of("llama-default"))
    norm = model.ln_final
    assert isinstance(norm, Norm)
    x = torch.randn(1, 32) + 5
    with torch.inference_mode():
        assert float((norm.recompute(x) / norm.weight).mean()) > 0.5
        read = model.unembedded(x)
        assert torch.allclose(read, norm.recompute(x) @ model._unembedding().T, atol=1e-4)
        assert not torch.allclose(read, x @ model._unembedding().T, atol=1e-1)


def test_a_nat_in_bits_and_the_highest_entropy_are_as_told() -> None:
    assert "1 nat = 1.44 bits" in glossary().terms["entropy"].definition
    assert round(1 / math.log(2), 2) == 1.44
    even = torch.full((50,), 1 / 50)
    assert float(-(even * even.log()).sum()) == pytest.approx(math.log(50))
