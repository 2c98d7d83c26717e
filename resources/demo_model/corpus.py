"""From documents to batches: one stream of ids per domain, rows that begin at the start of a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from resources.demo_model.texts import DOMAINS, END, Texts, python, sums, tales

SHARES = (0.20, 0.36, 0.44)  # of the rows of a batch, by domain
SUM_DOCUMENTS = 12_000  # about four million tokens; some 4,500 pairs, both signs, many times
QUESTION_WEIGHT = 0.25  # of a sum's tokens up to "=": operands are random, there is little to learn in them


def texts(tales_file: Path, seed: int) -> dict[str, Texts]:
    """Every document by domain."""
    made = Texts(sums(SUM_DOCUMENTS, seed), sums(400, seed + 1, held_out=True))
    return dict(zip(DOMAINS, (tales(tales_file), python(), made), strict=True))


def train_tokenizer(documents: dict[str, Texts], d_vocab: int) -> Tokenizer:
    """Byte-level BPE with every digit a token of its own, from as much Python as there are tales, twice over."""
    tokenizer = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=d_vocab, special_tokens=[END], initial_alphabet=alphabet, show_progress=False
    )
    stories, code = documents["tales"].train, documents["python"].train
    budget = 2 * sum(map(len, stories))
    step = max(1, sum(map(len, code)) // budget)
    tokenizer.train_from_iterator([*stories, *code[::step], *documents["sums"].train[:200]], trainer)
    return tokenizer


class Stream:
    """The documents of one domain, one after the other, each behind the end-of-text token."""

    def __init__(self, tokenizer: Tokenizer, documents: list[str]) -> None:
        end = tokenizer.token_to_id(END)
        encoded = [np.array([end, *found.ids]) for found in tokenizer.encode_batch(documents)]
        self.ids = np.concatenate([*encoded, [end]]).astype(np.int64)
        breaks = np.array([END in word or "\n" in word for word in _words(tokenizer)])[self.ids]
        self.starts = np.flatnonzero(breaks[:-1]) + 1
        self.weights = np.ones(len(self.ids), np.float32)

    def weigh_questions(self, tokenizer: Tokenizer) -> None:
        """Sums: tokens up to the equals sign count less."""
        words = np.array(_words(tokenizer))[self.ids]
        place = np.arange(len(words))
        equals = np.maximum.accumulate(np.where(words == " =", place, -1))
        newline = np.maximum.accumulate(np.where(words == "\n", place, -1))
        in_answer = np.concatenate([[False], (equals > newline)[:-1]])
        self.weights = np.where(in_answer, 1.0, QUESTION_WEIGHT).astype(np.float32)

    def row(self, start: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """``length`` + 1 ids and their weights, from a start of a line; the stream is a ring."""
        where = np.arange(start, start + length + 1) % len(self.ids)
        return self.ids[where], self.weights[where]


def _words(tokenizer: Tokenizer) -> list[str]:
    return [tokenizer.decode([token], skip_special_tokens=False) for token in range(tokenizer.get_vocab_size())]


def streams(tokenizer: Tokenizer, documents: dict[str, Texts], held_out: bool = False) -> dict[str, Stream]:
    """A stream for every domain."""
    made = {name: Stream(tokenizer, found.held_out if held_out else found.train) for name, found in documents.items()}
    if not held_out:
        made["sums"].weigh_questions(tokenizer)
    return made


def batch(found: dict[str, Stream], rows: int, length: int, draw: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Ids and weights, both ``[rows, length + 1]``, of random places."""
    drawn = []
    for domain in draw.choice(len(DOMAINS), rows, p=SHARES):
        stream = found[DOMAINS[domain]]
        drawn.append(stream.row(draw.choice(stream.starts), length))
    ids, weights = zip(*drawn, strict=True)
    return np.stack(ids), np.stack(weights)
