"""What is trained on and what is held out, and how rows are cut."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from resources.demo_model.corpus import QUESTION_WEIGHT, Stream, batch, streams, train_tokenizer
from resources.demo_model.texts import END, LARGEST, Texts, python, sum_held_out, sum_line, sums, tales

LINE = re.compile(r"(\d+) ([+-]) (\d+) = (\d+)")


def pairs(documents: list[str]) -> set[tuple[int, int]]:
    """Operands of every line, which must be right."""
    found = set()
    for line in "".join(documents).splitlines():
        matched = LINE.fullmatch(line)
        assert matched, line
        a, sign, b, answer = matched.groups()
        assert int(answer) == (int(a) + int(b) if sign == "+" else int(a) - int(b))
        found.add((int(a), int(b)))
    return found


def test_held_out_pairs_are_never_trained_on_in_either_order() -> None:
    trained = pairs(sums(400, 1812))
    assert len(trained) > 5000
    assert not any(sum_held_out(a, b) or sum_held_out(b, a) for a, b in trained)


def test_held_out_sums_are_of_held_out_pairs_alone() -> None:
    kept = pairs(sums(60, 1813, held_out=True))
    assert len(kept) > 300
    assert all(sum_held_out(a, b) and sum_held_out(b, a) for a, b in kept)


def test_about_a_tenth_of_pairs_is_held_out() -> None:
    every = [sum_held_out(a, b) for a in range(LARGEST + 1) for b in range(a + 1)]
    assert 0.08 < sum(every) / len(every) < 0.12


def test_sums_are_of_their_seed() -> None:
    assert sums(5, 1) == sums(5, 1) != sums(5, 2)


def test_the_larger_number_comes_first_in_a_subtraction() -> None:
    assert sum_line(12, 30, "-") == "30 - 12 = 18\n"
    assert sum_line(12, 30, "+") == "12 + 30 = 42\n"


def test_tales_are_divided_by_their_text(tmp_path: Path) -> None:
    stories = [f"Tale {n}, told once." for n in range(300)]
    file = tmp_path / "tales.txt"
    file.write_text(f"\n{END}\n".join(stories))
    found = tales(file)
    assert sorted([*found.train, *found.held_out]) == sorted(story + "\n" for story in stories)
    file.write_text(f"\n{END}\n".join(stories[::2]))  # what is left out moves no other
    assert tales(file).held_out == [story for story in found.held_out if story.strip() in stories[::2]]
    assert 0 < len(found.held_out) < 40


def test_python_leaves_out_tests_tables_and_other_alphabets(tmp_path: Path) -> None:
    line = "value = 'long enough to be kept, as two hundred bytes are asked for'\n"
    for name, text in {
        "kept.py": line * 4,
        "package/tabbed.py": "if True:\n\tvalue = 1\n" + line * 4,
        "test/left.py": line * 4,
        "short.py": line,
        "long.py": line * 4000,
        "other.py": "# ü\n" + line * 4,
        "text.txt": line * 4,
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    found = python(tmp_path)
    assert sorted([*found.train, *found.held_out]) == sorted([line * 4, "if True:\n        value = 1\n" + line * 4])


def test_standard_library_is_divided() -> None:
    found = python()
    assert 5 < len(found.held_out) < len(found.train) / 10
    assert set(found.train).isdisjoint(found.held_out)


@pytest.fixture(scope="module")
def documents() -> dict[str, Texts]:
    stories = [f"Once there was a king.\nHe had {n} sons.\nThey went away.\n" for n in range(40)]
    code = [f"def f{n}(x):\n    y = x + {n}\n    return y\n" for n in range(40)]
    made = Texts(sums(40, 1), sums(10, 2, held_out=True))
    return {"tales": Texts(stories, stories[:5]), "python": Texts(code, code[:5]), "sums": made}


@pytest.fixture(scope="module")
def tokenizer(documents: dict[str, Texts]) -> Tokenizer:
    return train_tokenizer(documents, 300)


def test_tokenizer_keeps_digits_apart_and_bytes_whole(tokenizer: Tokenizer) -> None:
    assert tokenizer.get_vocab_size() == 300
    assert tokenizer.encode("1234").tokens == ["1", "2", "3", "4"]
    text = "Über 12 + 30 = 42\n\n    return 睡"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert tokenizer.encode(END).ids == [tokenizer.token_to_id(END)]


def test_rows_begin_at_starts_of_lines(tokenizer: Tokenizer, documents: dict[str, Texts]) -> None:
    for texts in documents.values():
        stream = Stream(tokenizer, texts.train)
        before = {tokenizer.decode([token], skip_special_tokens=False) for token in stream.ids[stream.starts - 1]}
        assert all("\n" in word or word == END for word in before)
        lines = sum(text.count("\n") for text in texts.train)
        assert len(stream.starts) >= lines


def test_a_stream_is_its_documents_each_behind_an_end(tokenizer: Tokenizer, documents: dict[str, Texts]) -> None:
    texts = documents["tales"].train
    ids = Stream(tokenizer, texts).ids
    assert tokenizer.decode(ids.tolist(), skip_special_tokens=False) == END + END.join(texts) + END


def test_a_row_goes_round(tokenizer: Tokenizer, documents: dict[str, Texts]) -> None:
    stream = Stream(tokenizer, documents["tales"].held_out)
    ids, weights = stream.row(len(stream.ids) - 2, 5)
    assert ids.tolist() == [*stream.ids[-2:], *stream.ids[:4]]
    assert weights.tolist() == [1.0] * 6


def test_questions_weigh_less(tokenizer: Tokenizer) -> None:
    stream = Stream(tokenizer, ["12 + 30 = 42\n7 - 7 = 0\n"])
    stream.weigh_questions(tokenizer)
    words = [tokenizer.decode([token], skip_special_tokens=False) for token in stream.ids]
    heavy = "".join(word for word, weight in zip(words, stream.weights, strict=True) if weight == 1)
    assert heavy == " 42\n 0\n"
    assert set(stream.weights.tolist()) == {QUESTION_WEIGHT, 1.0}


def test_training_streams_alone_weigh_questions(tokenizer: Tokenizer, documents: dict[str, Texts]) -> None:
    assert streams(tokenizer, documents)["sums"].weights.min() == QUESTION_WEIGHT
    assert streams(tokenizer, documents)["tales"].weights.min() == 1
    assert streams(tokenizer, documents, held_out=True)["sums"].weights.min() == 1


def test_batches_are_of_their_seed_and_of_every_domain(tokenizer: Tokenizer, documents: dict[str, Texts]) -> None:
    found = streams(tokenizer, documents)
    ids, weights = batch(found, 24, 16, np.random.default_rng((1, 2)))
    again, _ = batch(found, 24, 16, np.random.default_rng((1, 2)))
    assert ids.shape == weights.shape == (24, 17)
    assert np.array_equal(ids, again)
    text = tokenizer.decode_batch(ids.tolist())
    assert all(any(mark in row for row in text) for mark in ("king", "return", " = "))
