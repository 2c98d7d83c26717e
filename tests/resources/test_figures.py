"""The card tells the truth: its figures are those of ``figures.json``, and these come again from the weights.

The tales are not shipped and the standard library is another one in each version of Python, so what is measured again
here are the sums; ``python -m resources.demo_model.evaluate --check`` measures everything.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from tokenizers import Tokenizer

import engine
from engine.loading import Loaded
from resources.demo_model import arithmetic, card, continuation, evaluate
from resources.demo_model.compare import close
from resources.demo_model.prediction import Reading, read
from tests.resources.shipped import FOLDER, read_json

LEAST_RIGHT = 0.80


@pytest.fixture(scope="module")
def figures() -> Any:
    return read_json("figures.json")


@pytest.fixture(scope="module")
def sums_read(demo: Loaded, backend: Tokenizer) -> Reading:
    return read(demo, evaluate.held_out_sums(), backend)


def test_card_was_not_written_by_hand(figures: card.Figures) -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for mark, part in card.blocks(figures, read_json("training.json")).items():
        assert card.published(text, mark) == part, mark


def test_size(demo: Loaded, figures: card.Figures) -> None:
    assert evaluate.size(demo, FOLDER) == figures["model"]


@pytest.mark.parametrize("sign", arithmetic.SIGNS)
def test_sums_right(demo: Loaded, figures: card.Figures, sign: str) -> None:
    found, published = arithmetic.accuracy(demo, sign), figures["sums"][sign]
    assert found["asked"] == published["asked"]
    assert close(f"sums.{sign}.right", found["right"], published["right"])
    assert found["share"] >= LEAST_RIGHT
    assert published["share"] == round(published["right"] / published["asked"], 4)


def test_a_wrong_answer_is_not_right(demo: Loaded) -> None:
    chosen = arithmetic.questions("+")[:40]
    shifted = [(question, answer) for (question, _), (_, answer) in pairwise(chosen)]
    assert sum(arithmetic.right(demo, shifted)) <= 1


def test_sums_foretold(sums_read: Reading, figures: card.Figures) -> None:
    for name, value in sums_read.figures().items():
        assert close(f"text.sums.{name}", value, figures["text"]["sums"][name]), name


def test_where_routers_send_sums(sums_read: Reading, figures: card.Figures) -> None:
    assert sums_read.routing.positions == sums_read.tokens
    published = figures["router"]["shares"]["sums"]
    assert len(published) == 6
    for layer, (found, said) in enumerate(zip(sums_read.routing.shares.tolist(), published, strict=True)):
        for ours, theirs in zip(found, said, strict=True):
            assert close(f"router.shares.sums.{layer}", ours, theirs)


def test_experts_divide_sums_from_the_rest(figures: card.Figures) -> None:
    divided = figures["router"]["divided"]
    assert max(divided["tales-sums"]) > 0.5
    assert max(divided["python-sums"]) > 0.5


def test_samples_come_again(demo: Loaded, figures: card.Figures) -> None:
    prompt, count = continuation.SAMPLES[-1]
    found, again = (continuation.continued(demo, prompt, continuation.SAMPLE_SEED, count) for _ in range(2))
    assert found == again
    published = figures["samples"][-1]
    assert published["prompt"] == prompt
    if figures["measured_with"]["build"] == evaluate.build():  # elsewhere sums are rounded otherwise
        assert published["text"] == found.text


def test_batched_answers_are_a_sessions(demo: Loaded) -> None:
    chosen = arithmetic.questions("-")[::40]
    said = [arithmetic.answered(demo, question) == answer for question, answer in chosen]
    assert said == arithmetic.right(demo, chosen)


def test_settings_are_the_models_own(demo: Loaded) -> None:
    drawn = [continuation.continued(demo, "There was", seed, 12).text for seed in range(4)]
    greedy = engine.Session(demo, engine.Sampling(greedy=True)).generate("There was", max_new_tokens=12)
    assert len({*drawn, "".join(step.text for step in greedy)}) > 2
