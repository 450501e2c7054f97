"""Chains that outlive the updates: which are walked, which begin anew, and that they reach the model's law."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from reference_models.energy.persistent import PersistentChains
from reference_models.energy.rbm import RBM
from tests.reference_models.energy.oracles import all_states, law_p_value
from tests.reference_models.helpers import perturb


def zeros(n: int, generator: Generator | None = None) -> Tensor:
    return torch.zeros(n, 1, 2)


def test_chosen_chains_are_replaced_by_where_they_end_and_others_stay(generator: Generator) -> None:
    chains = PersistentChains(zeros, capacity=10, restart=0.0)
    walked = chains.advance(4, lambda x: x + 1, generator=generator)
    assert walked.shape == (4, 1, 2)
    assert sorted(chains.states[:, 0, 0].tolist()) == [0.0] * 6 + [1.0] * 4
    assert torch.equal(chains.states[:, 0, 0], chains.states[:, 0, 1])


def test_chains_go_on_from_where_they_were_each_once(generator: Generator) -> None:
    chains = PersistentChains(zeros, capacity=10, restart=0.0)
    for _ in range(3):
        chains.advance(10, lambda x: x + 1, generator=generator)
    assert bool((chains.states == 3).all())


def test_a_restarted_chain_begins_from_a_fresh_point_before_it_walks(generator: Generator) -> None:
    chains = PersistentChains(lambda n, g: torch.full((n, 3), 100.0), capacity=5, restart=1.0)
    chains.states.zero_()
    assert bool((chains.advance(5, lambda x: x + 1, generator=generator) == 101).all())


def test_the_share_of_restarts_is_that_asked_for(generator: Generator) -> None:
    """20 000 chains, restart 0.05: the share lies within 5 standard errors."""
    chains = PersistentChains(lambda n, g: torch.ones(n, 1), capacity=20_000, restart=0.05)
    chains.states.zero_()
    share = float(chains.advance(20_000, lambda x: x, generator=generator).mean())
    assert abs(share - 0.05) < 5 * math.sqrt(0.05 * 0.95 / 20_000)


def test_persistent_gibbs_chains_reach_the_law_of_the_machine(generator: Generator) -> None:
    """20 000 chains over 2^3 states, half of them advanced at a time; false failure below 1e-6 by Pearson's test."""
    rbm = perturb(RBM(3, 2), scale=1.0)
    chains = PersistentChains(lambda n, g: torch.zeros(n, 3), capacity=20_000, restart=0.0)
    for _ in range(40):
        chains.advance(10_000, lambda v: rbm.gibbs(v, 2, generator=generator), generator=generator)
    W, a, b = (p.detach().cpu().numpy() for p in (rbm.W, rbm.a, rbm.b))
    v = all_states(3)
    law = np.exp(v @ a) * (1 + np.exp(b + v @ W)).prod(1)
    assert law_p_value(chains.states, law / law.sum()) > 1e-6


def test_the_states_are_saved_with_the_model() -> None:
    chains = PersistentChains(zeros, capacity=4)
    assert set(chains.state_dict()) == {"states"}


def test_bad_input_is_refused_with_the_value_in_hand() -> None:
    with pytest.raises(ValueError, match="capacity must be at least 1, got 0"):
        PersistentChains(zeros, capacity=0)
    with pytest.raises(ValueError, match=r"got 1\.5"):
        PersistentChains(zeros, capacity=4, restart=1.5)
    with pytest.raises(ValueError, match="between 1 and 4 chains can be advanced at once, got 5"):
        PersistentChains(zeros, capacity=4).advance(5, lambda x: x)
