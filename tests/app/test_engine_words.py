"""What the engine says is found again, whatever model it is about and whatever was put into its sentences."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from app.breakpoint_words import hit_text
from app.engine_forms import Forms, parts_of, taken_apart
from app.engine_words import LONGEST, WORDS, know, said, sources_text, stage_title
from app.languages import LANGUAGES, SENTENCES, read, read_part
from engine.breakpoints import OUTSIDE, HitFrame
from engine.checkpoint.catalog import CatalogEntry, catalog
from engine.checkpoint.facts import facts
from engine.checkpoint.fits import Device, fits
from engine.checkpoint.traits import traits
from engine.cost import cost, cost_rows
from engine.errors import EngineError
from engine.frames import Where
from engine.hooks import layer_stages
from engine.point_table import layer_points, outer_points
from tests.app import silent_texts
from tests.app.engine_texts import BESIDE, ROOT, engine_texts, forms_of

TOY = Device("cpu", "the CPU", 10**9, 2 * 10**9)
FORMS = tuple(engine_texts())
OTHERS = [name for name in LANGUAGES if name != "en"]
SPEAKING = sorted(ROOT.glob("engine/**/*.py"))


@pytest.fixture(autouse=True)
def _known() -> Iterator[None]:
    know(FORMS)
    yield
    know(())


def marked(text: str) -> str:
    """A translation, to be seen as one."""
    return f"⟦{text}⟧"


def is_said(text: str) -> bool:
    return said(text, marked) != text


def chinese(text: str) -> str:
    return _table("zh_CN").get(text, text)


_table = cache(read)


@pytest.mark.parametrize("entry", catalog(), ids=lambda entry: entry.name)
def test_what_is_said_of_a_model(entry: CatalogEntry) -> None:
    config = entry.config
    before, behind = outer_points(config)
    layers = {layer: number for number, layer in enumerate(config.layers)}  # one of each kind
    points = [*before, *(point for number in layers.values() for point in layer_points(config, number)), *behind]
    assert [point.meaning for point in points if not is_said(point.meaning)] == []
    assert [name for name in traits(config) if not is_said(name)] == []
    assert is_said(fits(config, 10**8, 512, TOY).sentence)
    rows = cost_rows(cost(config, positions=512, weight_dtype="float32"))
    assert [label for label in rows if not is_said(label)] == []
    assert [label for label in facts(config) if not is_said(label) and not label.startswith("d_")] == []


def test_words_inside_a_sentence_are_translated_too() -> None:
    sentence = "It fits: it needs 1 MB and 2 GB are free on the CPU (3 MB weights in float32, 4 MB cache for 512 "
    said_of_it = said(f"{sentence}positions, 5 MB to work in).", lambda text: text if "{" in text else text.upper())
    assert said_of_it.startswith("IT FITS: it needs 1 MB and 2 GB are free on THE CPU (3 MB weights in float32,")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("what norm 1 divides by", "⟦what ⟦norm 1⟧ divides by⟧"),
        ("reading model.layers.0.weight", "⟦reading model.layers.0.weight⟧"),
        ("weights read", "⟦weights read⟧"),
        ("model.safetensors", "model.safetensors"),
        ("", ""),
        ("{0} of {1}", "{0} of {1}"),
        ("reading {0} {1} {", "⟦reading {0} {1} {⟧"),  # a name with braces is a name
    ],
)
def test_texts(text: str, expected: str) -> None:
    assert said(text, marked) == expected


def test_every_stage_of_a_pass_has_a_title() -> None:
    layers = ((entry.config, layer) for entry in catalog() for layer in range(entry.config.n_layers))
    stages = {stage for config, layer in layers for stage in layer_stages(config, layer)} | {*OUTSIDE}
    assert {stage for stage in stages if stage_title(stage, marked) == stage} == {"q", "q k v"}
    assert {stage for stage in stages if stage_title(stage, lambda text: text) != stage} == set()  # in English


def test_a_stage_inside_a_sentence_has_its_title() -> None:
    assert said("activation of layer 3 is computed", marked) == "⟦⟦activation function⟧ of layer 3 is computed⟧"


def test_what_a_breakpoint_met_is_said_with_the_token_s_own_text() -> None:
    know(read_part("zh_CN", SENTENCES))
    sentence = "token 5 “attention” is chosen, and token 262 “ the” is the most probable"
    hit = HitFrame(3, 2, True, Where("paused"), sentence, (4, None, None))
    assert hit_text(hit, chinese) == "断点 3（第 2 次命中）：选中词元 5“attention”，而最可能的是词元 262“ the”"


def test_sources() -> None:
    assert sources_text("captured + recomputed", marked) == "⟦captured⟧ + ⟦recomputed⟧"
    assert sources_text("", marked) == ""


def test_no_word_is_a_sentence() -> None:
    """Else it would depend on the order which translation is shown."""
    assert [form for form in FORMS if form in WORDS] == []


# ---- every sentence ------------------------------------------------------------------------------------------------


def filled(form: str) -> str:
    """With a name for each place that is no word of any sentence."""
    return re.sub(r"\{(\d+)\}", r"x\1-7", form).replace("{{", "{").replace("}}", "}")


def test_a_sentence_is_found_as_itself_and_as_no_other() -> None:
    forms, wrong = Forms(FORMS), []
    for form in FORMS:
        found = forms.fitting(filled(form))
        parts = tuple(f"x{number}-7" for number in re.findall(r"\{(\d+)\}", form))
        if found is None or (found[0].text, found[1]) != (form, parts):
            wrong.append((form, found))
    assert wrong == []


def test_there_are_many() -> None:
    assert len(FORMS) > 550  # it is not that nothing was found in the source


def test_what_an_error_says_is_among_them() -> None:
    """Every text that an error is raised with, found in another way than the list was made."""
    pattern = re.compile(r"raise \w*(?:Error|Shortage|NotNow|Needed)\(\s*f?\"([^\"]{12,})\"")
    known = " ".join((*FORMS, *silent_texts.TEXTS))
    missing = [
        (path.name, text)
        for path in SPEAKING
        for text in pattern.findall(path.read_text(encoding="utf-8"))
        for piece in re.split(r"\{.*?\}", text)
        if piece.strip(" '.;,:()") not in known
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('raise E("It is a folder; name a file.")', ["It is a folder; name a file."]),
        ('raise E(f"{path!r} is a folder in {where:>3}.")', ["{0} is a folder in {1}."]),
        ('raise E(f"{a}{b} is a folder; " "name a file.")', ["{0} is a folder; name a file."]),
        ("raise E(f\"it is {'a folder' if a else 'a link'} now\")", ["it is a folder now", "it is a link now"]),
        ('x = "a folder" if a else "a link it is"\nraise E(f"It is {x}.")', ["It is a folder.", "It is a link it is."]),
        ('raise E("It is this: " + ", ".join(names) + " and so on")', ["It is this: {0} and so on"]),
        ("raise E(f'It lacks {lacking(\"the file\", name)}.')", ["It lacks {0}.", "the file"]),
        ('say("it was {} times here".format(3))', ["it was {0} times here"]),
        ('raise E(f"it takes {{}} and {n} more")', ["it takes {{}} and {0} more"]),
        ('def f() -> "the thing itself":\n    """A text for readers."""\n    assert a, "it cannot be so"', []),
        ('open("file", "rb")', []),
    ],
)
def test_sentences_are_read_from_the_source(source: str, expected: list[str]) -> None:
    inside = source if source.startswith("def") else "def f():\n" + "".join(f"    {x}\n" for x in source.split("\n"))
    assert list(forms_of(inside)) == expected


def test_the_modules_beside_the_engine_are_there() -> None:
    assert [name for name in BESIDE if not Path(ROOT, f"app/{name}.py").exists()] == []


# ---- names are no sentences ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("token 5 “attention” is chosen", "“attention”"),
        ("token 5 “weights read” is chosen", "“weights read”"),
        ("There is no file or folder '/a/reading list'; it is no hub id org/name and no catalog name (x).", "reading"),
        ("The folder /data/models in use cannot be read: No such file or directory.", "/data/models in use"),
    ],
)
def test_a_name_in_a_sentence_stays(text: str, kept: str) -> None:
    know(read_part("zh_CN", SENTENCES))
    own = said(text, chinese)
    assert kept in own
    assert own != text


def test_what_comes_from_the_system_stays_as_it_is() -> None:
    know(read_part("zh_CN", SENTENCES))
    assert said("The folder /a cannot be read: Permission denied.", chinese) == "无法读取文件夹 /a：Permission denied。"


def test_english_needs_no_table() -> None:
    know(())
    assert said("The folder /a cannot be read: Permission denied.", marked).startswith("The folder")


# ---- what is hostile -----------------------------------------------------------------------------------------------

HOSTILE = {
    "one letter": "a" * 100_000,
    "no letter": "\n" * 100_000,
    "signs of expressions": "(.*)+?[a-z]{1,9}\\" * 6_000,
    "places": "{0} is {1} tokens to this model, and one is needed{2}; type" * 2_000,
    "a sentence in itself": "reading " * 12_500,
    "a sentence again and again": "The folder x cannot be read: " * 3_500,
    "what stands between places": "The config says " + " = " * 33_000,
    "an end that comes late": "The folder " + "; ( )." * 16_000 + " cannot be read: x.",
    "every word there is": " ".join(FORMS) * 3,
    "the same, as long as can be": " ".join(FORMS)[:LONGEST],
    "its words alone": " ".join({word: "" for form in FORMS for word in form.split()})[:LONGEST],
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_text_costs_little(text: str) -> None:
    said("weights", marked)
    said("The folder x cannot be read: y.", marked)  # the index is made
    costs = []
    for _ in range(3):
        start = time.perf_counter()
        said(text, marked)
        costs.append(time.perf_counter() - start)
    assert min(costs) < 0.05


def test_a_sentence_costs_next_to_nothing() -> None:
    """Panels ask for texts whenever they are painted."""
    said("The folder x cannot be read: y.", marked)
    start = time.perf_counter()
    for number in range(200):
        said(f"The folder {number} cannot be read: Permission denied.", marked)
    assert time.perf_counter() - start < 0.2


def test_a_form_without_words_is_none() -> None:
    forms = Forms(("{0}", "{0}: {1}.", "It lacks {0}."))
    assert forms.fitting("a: b.") is None
    found = forms.fitting("It lacks a.")
    assert found is not None
    assert found[1] == ("a",)


def test_a_piece_that_comes_twice_is_taken_first() -> None:
    form = taken_apart("The folder {0} cannot be read: {1}.")
    assert parts_of(form, "The folder a cannot be read: b cannot be read: c.") == ("a", "b cannot be read: c")
    assert parts_of(form, "The folder cannot be read: .") is None
    assert parts_of(taken_apart("It is full."), "It is full.") == ()
    assert parts_of(taken_apart("It is full."), "It is full. No.") is None


# ---- what errors really say ----------------------------------------------------------------------------------------


def sentences_of_sources(folder: Path) -> Iterator[str]:
    """What opening something says that cannot be opened."""
    from engine.checkpoint.gguf_header import read_header as read_gguf
    from engine.checkpoint.safetensors_file import read_header
    from engine.checkpoint.source import resolve

    damaged = {"a.gguf": b"GGUF\3\0\0\0" + b"\xff" * 16, "b.gguf": b"no", "c.safetensors": b"\xff" * 8, "d.bin": b"x"}
    for name, content in damaged.items():
        (folder / name).write_bytes(content)
    (folder / "empty").mkdir()
    tries = [
        *(lambda name=name: resolve(name) for name in ("", "nothing", f"{folder}/x", f"{folder}/empty")),
        *(lambda name=name: resolve(f"{folder}/{name}") for name in ("d.bin", "c.safetensors")),
        *(lambda name=name: read_gguf(folder / name) for name in ("a.gguf", "b.gguf")),
        lambda: read_header(folder / "c.safetensors"),
    ]
    for attempt in tries:
        with pytest.raises(EngineError) as caught:
            attempt()
        yield str(caught.value)


@pytest.mark.parametrize("language", OTHERS)
def test_real_sentences_are_said_in_the_language(tmp_path: Path, language: str) -> None:
    know(read_part(language, SENTENCES))
    own = {text: said(text, chinese) for text in sentences_of_sources(tmp_path)}
    assert len(own) >= 8
    assert [text for text, translated in own.items() if not re.search("[一-鿿]", translated)] == []
    left = re.compile(r"'[^']*'|[\w~-]*[/._][\w/.~-]*|safetensors|pickle|fluoroscope models|nothing", re.ASCII)
    words = {text: re.findall("[a-z]{4,}", left.sub("", translated)) for text, translated in own.items()}
    assert {text: found for text, found in words.items() if found} == {}


@pytest.mark.parametrize("language", OTHERS)
def test_no_sentence_comes_through_in_english(language: str) -> None:
    table = read_part(language, SENTENCES)
    know(table)
    english = [form for form in FORMS if said(filled(form), table.get) != table.get(form, "").format(*_parts(form))]
    assert english == []


def _parts(form: str) -> list[str]:
    """In their order, those that nothing is written for."""
    return re.findall(r"x\d+-7", filled(form))
