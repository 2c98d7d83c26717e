"""The logit lens of every family beside transformers: its streams, last norm, unembedding, scale and cap."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

import engine
from engine import questions as ask
from engine.loading import Loaded
from tests.engine.families.anatomy import anatomy_of
from tests.engine.families.oracle import Oracle
from tests.engine.families.reference import reference

CLOSE = {"rtol": 2e-4, "atol": 1e-5}


def theirs(oracle: Oracle, ids: Tensor) -> Tensor:
    """Logits ``[layers + 1, pos, vocab]`` of every boundary of one text ``[1, pos]``, by transformers' own modules."""
    record, config = reference(oracle, ids), oracle.model.config.get_text_config()
    last = config.num_hidden_layers - 1
    names = [f"blocks.{layer}.hook_resid_pre" for layer in range(last + 1)]
    streams = torch.stack([record[name][0] for name in (*names, f"blocks.{last}.hook_resid_post")])
    anatomy, modules = anatomy_of(oracle.variant.family, oracle.variant.id), dict(oracle.model.named_modules())
    with torch.inference_mode():
        logits = modules[anatomy.unembed](modules[anatomy.final_norm](streams))
    logits = logits * (getattr(config, "logit_scale", None) or 1) / (getattr(config, "logits_scaling", None) or 1)
    cap = getattr(config, "final_logit_softcapping", None)
    return logits if cap is None else cap * torch.tanh(logits / cap)


def test_their_last_row_is_their_distribution(oracle: Oracle) -> None:
    """What the other test compares with is right itself."""
    ids = oracle.ids[:1]
    torch.testing.assert_close(theirs(oracle, ids)[-1], oracle.logits[0], rtol=1e-4, atol=1e-4)


def test_readings_are_those_of_transformers(oracle: Oracle, loaded: Loaded) -> None:
    """In prefill, and in decode where a text that is read token by token gives what it gives at once."""
    session = engine.Session(loaded, engine.Sampling(greedy=True))
    list(session.generate(oracle.ids[0].tolist(), 4))
    end = session.n_read if oracle.variant.decodes_as_prefill else len(session.prompt)
    text = torch.tensor([[*session.prompt, *session.output]])
    logits = theirs(oracle, text[:, :end]).double()
    log_p = logits.log_softmax(-1)
    for position in {0, 17, len(session.prompt) - 1, end - 1}:
        answer = session.answer(ask.AskLensColumn(position, top=5, words=(3,)))
        compare(answer, logits[:, position], log_p[:, position], int(text[0, position + 1]))


def compare(answer: engine.frames.LensColumn, logits: Tensor, log_p: Tensor, next_id: int) -> None:
    """Every figure of one position; ``logits`` and ``log_p`` are float64 [rows, vocab]."""
    p = log_p.exp()
    np.testing.assert_array_equal(answer.ids, logits.topk(answer.ids.shape[1]).indices)
    np.testing.assert_allclose(answer.logits, logits.gather(-1, torch.from_numpy(answer.ids)), rtol=1e-4, atol=2e-4)
    np.testing.assert_allclose(answer.probabilities, p.gather(-1, torch.from_numpy(answer.ids)), **CLOSE)
    np.testing.assert_allclose(answer.entropy, -(p * log_p).sum(-1), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(answer.divergence, (p[-1] * (log_p[-1] - log_p)).sum(-1), rtol=1e-3, atol=1e-4)
    assert answer.next_id == next_id
    np.testing.assert_allclose(answer.next_probability, p[:, next_id], **CLOSE)
    same_ranks(answer.next_rank, logits, next_id)
    assert answer.words[:5].tolist() == answer.ids[-1, :5].tolist()
    assert {3, next_id} <= set(answer.words.tolist())
    for row, word in enumerate(answer.words.tolist()):
        np.testing.assert_allclose(answer.word_probability[row], p[:, word], **CLOSE)
        same_ranks(answer.word_rank[row], logits, word)


def same_ranks(ours: np.ndarray, logits: Tensor, id: int) -> None:
    """How many logits are larger; those that are as large but for rounding may count or not."""
    score = logits[:, [id]]
    least, most = ((logits > score + 2e-4).sum(-1), (logits > score - 2e-4).sum(-1) - 1)
    assert (torch.from_numpy(ours) >= least).all()
    assert (torch.from_numpy(ours) <= most).all()
