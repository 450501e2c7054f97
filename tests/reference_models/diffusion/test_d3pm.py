"""D3PM against Bayes' rule and exact likelihoods, by enumeration of all states and all paths."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from reference_models.diffusion.d3pm import D3PM, Transitions, categorical_kl
from reference_models.diffusion.tokens import TokenTransformer
from reference_models.protocols import LatentVariableModel
from tests.reference_models.helpers import close, perturb, standard_errors

K, T, E = 2, 3, 2  # symbols, steps, positions


def betas() -> Tensor:
    return torch.tensor([0.15, 0.4, 0.7])


def transitions(kind: str, classes: int = K) -> Transitions:
    return Transitions.uniform(betas(), classes) if kind == "uniform" else Transitions.absorbing(T, classes)


class Table(nn.Module):
    """Any function of time and of all symbols together: a table of logits of the clean symbols."""

    def __init__(self, states: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(1.5 * torch.randn(T, states, states, E, K))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.logits[t, x[:, 0], x[:, 1]]


def model(kind: str, **options) -> D3PM:
    q = transitions(kind)
    return D3PM(Table(q.states), q, (E,), K, **options)


def every(states: int) -> Tensor:
    """All pairs of symbols, (states², 2)."""
    return torch.tensor(list(product(range(states), repeat=E)))


def reverse_matrix(d3pm: D3PM, t: int) -> Tensor:
    """p(x_{t−1} | x_t) over pairs by eq. 4, [x_t, x_{t−1}], in plain probabilities; p̃ itself at t = 0."""
    q = d3pm.transitions
    states = every(q.states)
    guess = d3pm.network(states, torch.full((len(states),), t)).softmax(-1)  # (pairs, E, K)
    before = torch.linalg.multi_dot([torch.eye(q.states), *q.matrices[:t], torch.eye(q.states)])
    out = torch.zeros(len(states), len(states))
    for i, x_t in enumerate(states):
        for j, x_s in enumerate(states):
            p = torch.ones(())
            for e in range(E):
                if t == 0:
                    p = p * (guess[i, e, x_s[e]] if x_s[e] < K else 0.0)
                    continue
                joint = [
                    sum(q.matrices[t][v, x_t[e]] * before[x_0, v] * guess[i, e, x_0] for x_0 in range(K))
                    for v in range(q.states)
                ]
                p = p * joint[x_s[e]] / sum(joint) if sum(joint) > 0 else 0 * p  # x_t that cannot occur leads nowhere
            out[i, j] = p
    return out


@pytest.mark.parametrize("kind", ["uniform", "absorbing"])
def test_rows_are_probability_laws(kind):
    q = transitions(kind, 4)
    assert close(q.matrices.sum(-1), torch.ones(T, q.states), 1e-12)
    assert close(q.cumulative.sum(-1), torch.ones(T + 1, q.states), 1e-12)
    assert bool((q.matrices >= 0).all())


def test_uniform_steps_redraw_with_probability_beta():
    q = transitions("uniform", 4)
    for t in range(T):
        beta = float(betas()[t])
        for i in range(4):
            for j in range(4):
                assert close(q.matrices[t, i, j], beta / 4 + (1 - beta) * (i == j), 1e-12)
    keep = float((1 - betas()).prod())
    assert close(q.cumulative[-1], keep * torch.eye(4) + (1 - keep) / 4 * torch.ones(4, 4), 1e-12)
    assert close(q.prior, torch.full((4,), 0.25), 1e-12)


def test_absorbing_steps_mask_evenly():
    """After t of T steps a symbol is masked with probability t/T; a mask stays one."""
    q = Transitions.absorbing(5, 3)
    assert q.states == 4
    for t in range(6):
        expected = torch.cat([(1 - t / 5) * torch.eye(3), torch.full((3, 1), t / 5)], dim=1)
        assert close(q.cumulative[t], torch.cat([expected, torch.tensor([[0.0, 0.0, 0.0, 1.0]])]), 1e-12)
    assert q.prior.tolist() == [0.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize("kind", ["uniform", "absorbing"])
def test_the_posterior_is_bayes_rule(kind):
    """q(x_{t−1}|x_t,x_0) = q(x_t|x_{t−1}) q(x_{t−1}|x_0)/q(x_t|x_0) for every t and all symbols that occur, K = 4."""
    q = transitions(kind, 4)
    for t in range(T):
        before = torch.eye(q.states)
        for matrix in q.matrices[:t]:
            before = before @ matrix
        for x_0, x_t in product(range(4), range(q.states)):
            joint = torch.stack([before[x_0, v] * q.matrices[t][v, x_t] for v in range(q.states)])
            if float(joint.sum()) == 0:
                continue
            point = torch.eye(4)[x_0].reshape(1, 1, 4).log()
            posterior = q.posterior(point, torch.tensor([[x_t]]), torch.tensor([t])).exp()
            assert close(posterior[0, 0], joint / joint.sum(), 1e-12)


@pytest.mark.parametrize("kind", ["uniform", "absorbing"])
def test_marginals_are_products_of_steps(kind):
    q = transitions(kind, 4)
    x_0, t = torch.tensor([[0, 3], [2, 1]]), torch.tensor([0, 2])
    p = q.marginal(x_0, t)
    for n in range(2):
        product_of_steps = torch.eye(q.states)
        for matrix in q.matrices[: int(t[n]) + 1]:
            product_of_steps = product_of_steps @ matrix
        for e in range(2):
            assert close(p[n, e], product_of_steps[x_0[n, e]], 1e-12)


@pytest.mark.parametrize("kind", ["uniform", "absorbing"])
def test_the_reverse_step_is_equation_four(kind):
    d3pm = model(kind)
    states = every(d3pm.transitions.states)
    for t in range(T):
        log_p = d3pm.reverse(states, torch.full((len(states),), t))  # (pairs, E, S)
        pairs = torch.stack([log_p[:, 0, s[0]] + log_p[:, 1, s[1]] for s in states], dim=1).exp()
        expected = reverse_matrix(d3pm, t)
        possible = expected.sum(1) > 0
        assert int(possible.sum()) >= (1 if kind == "absorbing" and t == T - 1 else 4)
        assert close(pairs[possible], expected[possible], 1e-12)


@pytest.mark.parametrize("kind", ["uniform", "absorbing"])
def test_the_bound_misses_the_likelihood_by_the_divergence_of_the_paths(kind, generator):
    """Over all paths x_1..x_T: E elbo = log p(x_0) − KL(q(x_1..x_T|x_0) ‖ p(x_1..x_T|x_0)) = E_q log p(all)/q(x_1..).

    30000 draws of the bound within 5 standard errors; by chance 6e-7.
    """
    d3pm = model(kind)
    q, states = d3pm.transitions, every(d3pm.transitions.states)
    n = len(states)
    steps = [
        torch.stack([q.matrices[t][s[0]][states[:, 0]] * q.matrices[t][s[1]][states[:, 1]] for s in states])
        for t in range(T)
    ]
    prior = q.prior[states[:, 0]] * q.prior[states[:, 1]]
    reverse = [reverse_matrix(d3pm, t) for t in range(T)]
    likelihood = prior @ reverse[2] @ reverse[1] @ reverse[0]
    assert close(likelihood.sum(), 1.0, 1e-10)
    x_0 = torch.tensor([1, 0])
    start = int((states == x_0).all(1).nonzero())
    expected = 0.0
    for path in product(range(n), repeat=T):
        a, b, c = path
        weight = steps[0][start, a] * steps[1][a, b] * steps[2][b, c]
        if float(weight) > 0:
            p = prior[c] * reverse[2][c, b] * reverse[1][b, a] * reverse[0][a, start]
            expected += float((weight * (p / weight).log()).detach())
    bound = d3pm.bound(x_0.expand(30000, 2), generator=generator)
    assert bound.denoising.shape == (T - 1, 30000)
    assert standard_errors(bound.elbo.value.detach(), expected) < 5
    assert expected < float(likelihood[start].log())
    assert d3pm.elbo(x_0, generator=generator).value.shape == ()


@pytest.mark.parametrize("kind", ["uniform", "absorbing"])
def test_samples_follow_the_exact_law_of_the_chain(kind, generator):
    """20000 samples over the four pairs: χ² with 3 degrees below 40, by chance 1e-8."""
    d3pm = model(kind)
    q, states = d3pm.transitions, every(d3pm.transitions.states)
    law = q.prior[states[:, 0]] * q.prior[states[:, 1]]
    for t in reversed(range(T)):
        law = law @ reverse_matrix(d3pm, t)
    x = d3pm.sample(20000, generator=generator)
    assert int(x.max()) < K
    counts = torch.stack([(x == s).all(1).sum() for s in states])
    kept = law > 0
    assert int(counts[~kept].sum()) == 0
    assert float(((counts - 20000 * law)[kept] ** 2 / (20000 * law[kept])).sum().detach()) < 40


@pytest.mark.parametrize("kind", ["uniform", "absorbing"])
def test_the_loss_estimates_the_bound_and_adds_the_cross_entropy(kind, generator):
    """Averaged over t, T L_t + L_T is −elbo, and λ E[−log p̃(x_0|x_t)] is added; 5 standard errors, by chance 6e-7."""
    x = torch.tensor([[1, 0]])
    d3pm, plain = model(kind, auxiliary=0.5), model(kind, auxiliary=0.0)
    plain.network.load_state_dict(d3pm.network.state_dict())
    many = x.expand(30000, 2)
    with torch.no_grad():
        elbo = plain.bound(many, generator=generator).elbo.value
        losses = torch.stack([plain.loss(x.expand(500, 2), generator=generator) for _ in range(200)])
        spread = (losses.var() / 200 + elbo.var() / 30000) ** 0.5
        assert abs(float(losses.mean() + elbo.mean())) < 5 * float(spread)
        t = torch.tensor([1])
        seeds = [torch.Generator(x.device).manual_seed(8) for _ in range(3)]
        x_t = d3pm.diffuse(x, t, seeds[0])
        extra = d3pm.loss(x, t=t, generator=seeds[1]) - plain.loss(x, t=t, generator=seeds[2])
        log_guess = d3pm.network(x_t, t).log_softmax(-1)
        assert close(extra, -0.5 * (log_guess[0, 0, 1] + log_guess[0, 1, 0]), 1e-12)


def test_times_are_uniform_over_all_steps(generator):
    """χ² with 2 degrees of freedom over 9000 draws below 35, by chance 2e-8."""
    d3pm, seen = model("uniform"), []
    original = d3pm.diffuse
    d3pm.diffuse = lambda x_0, t, g=None: (seen.append(t), original(x_0, t, g))[1]  # type: ignore[method-assign]
    d3pm.loss(torch.zeros(9000, 2, dtype=torch.long), generator=generator)
    counts = torch.bincount(seen[0], minlength=T).double()
    assert float(((counts - 3000) ** 2 / 3000).sum()) < 35


@pytest.mark.parametrize("kind", ["uniform", "absorbing"])
def test_the_prior_term_is_the_divergence_from_the_prior(kind):
    d3pm = model(kind)
    last = d3pm.transitions.cumulative[-1][:K]
    expected = [
        sum(p * math.log(p / r) for p, r in zip(row, d3pm.transitions.prior.tolist(), strict=True) if p > 1e-15)
        for row in last.tolist()
    ]
    x = torch.tensor([[0, 1], [1, 1]])
    assert close(d3pm.prior_kl(x), torch.tensor([expected[0] + expected[1], 2 * expected[1]]), 1e-12)


def test_the_divergence_of_laws_with_zeros():
    p, q = torch.tensor([0.5, 0.5, 0.0]), torch.tensor([0.25, 0.25, 0.5])
    assert close(categorical_kl(p.log(), q.log()), math.log(2), 1e-12)
    assert close(categorical_kl(p.log(), p.log()), 0.0, 0)
    logits = torch.randn(3, requires_grad=True)
    categorical_kl(p.log(), logits.log_softmax(-1)).backward()
    assert bool(torch.isfinite(logits.grad).all())


@pytest.mark.parametrize("kind", ["uniform", "absorbing"])
def test_gradients_are_those_of_finite_differences(kind, device):
    d3pm = model(kind)
    x = torch.tensor([[0, 1], [1, 1]])

    def loss() -> Tensor:
        return d3pm.loss(x, generator=torch.Generator(device).manual_seed(3))

    loss().backward()
    gradient = d3pm.network.logits.grad
    assert bool(torch.isfinite(gradient).all())
    place = torch.unravel_index(gradient.abs().argmax(), gradient.shape)
    with torch.no_grad():
        d3pm.network.logits[place] += 1e-5
        up = loss()
        d3pm.network.logits[place] -= 2e-5
        down = loss()
    assert close((up - down) / 2e-5, gradient[place], 1e-6)


class Sure(nn.Module):
    """The same logits for every symbol, whatever is seen."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.logits.expand(*x.shape, 4)


def banded() -> Transitions:
    """Symbols move to their neighbours, as in a discretised Gaussian: far ones are reached in several steps."""
    band = 0.6 * torch.eye(4) + 0.2 * torch.ones(3).diag(1) + 0.2 * torch.ones(3).diag(-1)
    return Transitions((band / band.sum(1, keepdim=True)).repeat(T, 1, 1), torch.full((4,), 0.25))


def cyclic() -> Transitions:
    """No symbol stays."""
    ring = torch.eye(4).roll(1, 1)
    return Transitions((0.9 * ring + 0.1 * ring.mT).repeat(T, 1, 1), torch.full((4,), 0.25))


@pytest.mark.parametrize("kind", ["uniform", "absorbing", "banded", "cyclic"])
def test_a_network_that_is_sure_loses_neither_value_nor_gradient(kind):
    """Float32 and gaps whose exponentials underflow, against float64, where none does; the data hold these symbols."""
    q = banded() if kind == "banded" else cyclic() if kind == "cyclic" else transitions(kind, 4)
    x, t = torch.tensor([[2, 0, 3]]).expand(T, 3), torch.arange(T)
    masked = torch.tensor([[False, True, False], [False, True, False], [True, True, True]])  # all are in the last step
    x_t = {"absorbing": x.masked_fill(masked, 4), "cyclic": (x + t[:, None] + 1) % 4}.get(kind, x)
    logits = (0.0, 0.5, -110.0, 1.0) if kind in ("uniform", "absorbing") else (0.0, -60.0, -120.0, -200.0)
    found = []
    for dtype in (torch.float64, torch.float32):
        d3pm = D3PM(Sure(*logits), q, (3,), 4).to(dtype)
        value = d3pm.term(x, x_t, t)
        value.sum().backward()
        found.append((value.detach(), d3pm.network.logits.grad))
    exact, rough = found
    assert close(rough[0].double(), exact[0], 1e-3)
    assert close(rough[1].double(), exact[1], 1e-5)
    assert float(exact[1].abs().max()) > 0.1


def test_a_symbol_that_is_ruled_out_leaves_the_others_their_gradient():
    """A logit of −∞, absorbing: what one of −200 gives, where the symbol is not the data's."""
    x, x_t, t = torch.tensor([[0, 1, 3]]), torch.tensor([[4, 1, 4]]), torch.tensor([1])
    found = []
    for gap in (math.inf, 200.0):
        d3pm = D3PM(Sure(0.0, 0.5, -gap, 1.0), transitions("absorbing", 4), (3,), 4)
        d3pm.term(x, x_t, t).sum().backward()
        found.append(d3pm.network.logits.grad)
    assert close(found[0], found[1], 1e-12)
    assert float(found[0].abs().max()) > 0.1


def test_one_step_decodes_at_once(generator):
    """T = 1, all is masked: the bound is log p̃(x_0) of the masks, and samples are draws of p̃."""
    network = Sure(0.0, 0.5, -2.0, 1.0)
    d3pm = D3PM(network, Transitions.absorbing(1, 4), (3,), 4, auxiliary=0.0)
    x = torch.tensor([[0, 1, 2]])
    expected = network.logits.log_softmax(0)[:3].sum()
    assert close(d3pm.elbo(x, generator=generator).value, expected.reshape(1), 1e-12)
    loss = d3pm.loss(x, generator=generator)
    assert close(loss, -expected, 1e-12)
    loss.backward()
    assert close(network.logits.grad, 3 * network.logits.softmax(0) - torch.tensor([1.0, 1.0, 1.0, 0.0]), 1e-12)
    assert d3pm.sample(5, generator=generator).shape == (5, 3)


def test_a_transformer_sees_every_position_and_the_time(generator):
    network = perturb(TokenTransformer((2, 3), states=4, classes=3, dim=8, heads=2, depth=1))
    x, t = torch.randint(4, (2, 2, 3)), torch.tensor([0, 5])
    logits = network(x, t)
    assert logits.shape == (2, 2, 3, 3)
    assert close(network(x[1:], t[1:]), logits[1:], 1e-10)
    assert not close(network(x, t + 1), logits, 1e-6)
    changed = x.clone()
    changed[0, 1, 2] = (changed[0, 1, 2] + 1) % 4
    moved = (network(changed, t) - logits).abs().amax(-1)
    assert float(moved[0].min()) > 1e-6
    assert float(moved[1].max()) == 0
    d3pm = D3PM(network, Transitions.absorbing(T, 3), (2, 3), 3)
    assert d3pm.sample(5, generator=generator).shape == (5, 2, 3)
    assert isinstance(d3pm, LatentVariableModel)


def test_one_example_or_many_in_float32(generator):
    network = TokenTransformer((E,), states=K + 1, classes=K, dim=8, heads=2, depth=1)
    d3pm = D3PM(network, Transitions.absorbing(T, K), (E,), K).float()
    d3pm.train()
    x = torch.randint(K, (64, E))
    assert d3pm.elbo(x, generator=generator).value.shape == (64,)
    assert d3pm.elbo(x, generator=generator).value.dtype == torch.float32
    assert d3pm.loss(x[0], generator=generator).shape == ()
    assert d3pm.sample(3, generator=generator).dtype == torch.long
    assert d3pm.training


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"betas must be numbers in \(0, 1\]"):
        Transitions.uniform(torch.tensor([0.5, 1.5]), 3)
    with pytest.raises(ValueError, match="every matrix row must be a probability law"):
        Transitions(torch.full((1, 2, 2), 0.6), torch.tensor([0.5, 0.5]))
    with pytest.raises(ValueError, match=r"shapes \(T, S, S\) and \(S,\)"):
        Transitions(torch.eye(2), torch.tensor([0.5, 0.5]))
    with pytest.raises(ValueError, match="classes must be at least 2, got 1"):
        Transitions.absorbing(T, 1)
    with pytest.raises(ValueError, match=r"classes must lie in 2\.\.2"):
        D3PM(Table(2), transitions("uniform"), (E,), 3)
    with pytest.raises(ValueError, match=r"x must hold integers in 0\.\.1"):
        model("absorbing").loss(torch.tensor([[0, 2]]))
    with pytest.raises(ValueError, match=r"x must have shape \(2\)"):
        model("uniform").loss(torch.zeros(1, 3, dtype=torch.long))


def test_matrices_that_do_not_commute_are_multiplied_in_the_order_of_time():
    """q(x_t | x_0) by the sum over all paths; uniform and absorbing matrices commute and hide the order."""
    matrices = torch.softmax(2 * torch.randn(3, 3, 3), -1)
    transitions = Transitions(matrices, torch.ones(3) / 3)
    apart = 0.5 * (matrices[0] @ matrices[1] @ matrices[2] - matrices[2] @ matrices[1] @ matrices[0]).abs().sum(-1)
    assert float(apart.max()) > 0.1
    for start, end in product(range(3), range(3)):
        paths = sum(
            float(matrices[0, start, a] * matrices[1, a, b] * matrices[2, b, end])
            for a, b in product(range(3), range(3))
        )
        law = transitions.marginal(torch.tensor([[start]]), torch.tensor([2]))
        assert close(law[0, 0, end], paths, 1e-12)
    # Bayes' rule for the step between, with the same matrices
    for start, end in product(range(3), range(3)):
        joint = torch.stack([(matrices[0] @ matrices[1])[start, b] * matrices[2, b, end] for b in range(3)])
        one_hot = torch.eye(3)[start].log().reshape(1, 1, 3)
        found = transitions.posterior(one_hot, torch.tensor([[end]]), torch.tensor([2])).exp()
        assert close(found[0, 0], joint / joint.sum(), 1e-9)
