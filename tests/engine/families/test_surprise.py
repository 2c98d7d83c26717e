"""How unexpected each token of a prompt was, of every family: beside the log-softmax of transformers' own logits."""

from __future__ import annotations

import numpy as np

import engine
from engine.loading import Loaded
from engine.questions import AskSurprise
from engine.settings import Sampling
from tests.engine.families.oracle import Oracle
from tests.engine.test_surprise_answers import expected


def test_surprise_equals_transformers(oracle: Oracle, loaded: Loaded) -> None:
    ids = oracle.ids[0].tolist()
    session = engine.Session(loaded, sampling=Sampling(greedy=True))
    list(session.generate(ids, 1))
    answer = session.answer(AskSurprise(0, len(ids)))
    surprise, entropy = expected(oracle.logits[0], ids)
    allowed = 2 * oracle.variant.tolerance  # a logit and the sum of all may each be off
    np.testing.assert_allclose(answer.surprise[1:], surprise, rtol=0, atol=allowed)
    np.testing.assert_allclose(answer.entropy[1:], entropy, rtol=0, atol=20 * oracle.variant.tolerance)
