"""Each probe has the property its docstring promises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from autograder.vocabulary.known_laws import strong_table, table_law
from autograder.worker.probes import (
    PROBES,
    AffineScore,
    Constant,
    Exploding,
    Linear,
    Quadratic,
    Recorder,
    ReluMap,
    TableConditional,
)
from autograder.worker.probes.autoregressive import pixels_of

F64 = torch.float64


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slope(f: torch.nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(f(x).sum(), x)
    return found


def test_a_linear_critic_of_norm_c_has_penalty_c_minus_one_squared() -> None:
    direction = torch.randn(12, dtype=F64, generator=generator())
    x = torch.randn(5, 3, 2, 2, dtype=F64, generator=generator(1))
    for c, penalty in ((1.0, 0.0), (2.0, 1.0), (0.5, 0.25)):
        critic = Linear(c * direction / direction.norm(), 3.0)
        found = (slope(critic, x).flatten(1).norm(dim=1) - 1).square()
        torch.testing.assert_close(found, torch.full((5,), penalty, dtype=F64))
    assert Linear(torch.ones(12, 4, dtype=F64))(x).shape == (5, 4)


def test_a_quadratic_has_the_gradient_and_hessian_it_promises() -> None:
    A, b = torch.randn(3, 3, dtype=F64, generator=generator()), torch.randn(3, dtype=F64, generator=generator(1))
    x = torch.randn(4, 3, dtype=F64, generator=generator(2))
    f = Quadratic(A, b, 0.5)
    torch.testing.assert_close(slope(f, x), x @ (A + A.T) / 2 + b)
    torch.testing.assert_close(f(torch.zeros(1, 3, dtype=F64)), torch.tensor([0.5], dtype=F64))
    torch.testing.assert_close(torch.autograd.functional.hessian(lambda v: f(v[None])[0], x[0]), (A + A.T) / 2)


def test_an_affine_score_is_that_of_a_normal_law_and_ignores_time() -> None:
    x = torch.randn(4, 2, dtype=F64, generator=generator(2)).requires_grad_()
    mean, std = 1.5, 0.6
    (wanted,) = torch.autograd.grad(torch.distributions.Normal(mean, std).log_prob(x).sum(), x)
    score = AffineScore(torch.tensor(-1 / std**2, dtype=F64), torch.tensor(mean / std**2, dtype=F64))
    torch.testing.assert_close(score(x, 0.3, cond=None), wanted)


def test_a_constant_is_expanded_to_the_batch_and_may_be_written_into() -> None:
    x = torch.zeros(4, 2)
    assert Constant(3.0)(x).tolist() == [[3.0, 3.0]] * 4
    assert Constant([1, 2])(x, 0.5).tolist() == [[1.0, 2.0]] * 4
    assert {dtype: Constant(0.1)(x.to(dtype)).dtype for dtype in (torch.float32, torch.float64)} == {
        torch.float32: torch.float32,
        torch.float64: torch.float64,
    }
    assert (Constant(0.1)(x.double()) == 0.1).all(), "every digit"
    f = Constant(torch.ones(2))
    with torch.no_grad():
        f(x).add_(1)
    assert f(x).tolist() == [[1.0, 1.0]] * 4


def test_a_recorder_remembers_copies_and_answers_with_zeros_that_carry_a_graph() -> None:
    recorder = Recorder()
    x = torch.ones(3, 2)
    out = recorder(x, [torch.tensor(0.5)], cond={"y": torch.tensor([1, 2])})
    x.zero_()
    args, kwargs = recorder.calls[0]
    assert args[0].tolist() == [[1.0, 1.0]] * 3
    assert args[1][0].item() == 0.5
    assert kwargs["cond"]["y"].tolist() == [1, 2]
    assert out.tolist() == [[0.0, 0.0]] * 3
    out.sum().backward()
    assert recorder.anchor.grad is not None
    assert recorder.anchor.grad.item() == 6.0


def test_a_recorder_answers_as_its_inner_network_does_and_gradients_pass_through() -> None:
    recorder = Recorder(AffineScore(torch.tensor(2.0)))
    assert slope(recorder, torch.ones(2)).tolist() == [2.0, 2.0]
    assert len(recorder.calls) == 1
    assert not recorder.calls[0][0][0].requires_grad


@pytest.mark.parametrize("shape", [(4,), (1, 2, 2)])
def test_a_table_is_causal_and_depends_on_every_earlier_pixel(shape: tuple[int, ...]) -> None:
    model = TableConditional(strong_table(4, generator()))
    states = table_law(strong_table(4, generator()))[0].reshape(-1, *shape)
    logits = model(states).flatten(1)
    for j in range(4):
        flipped = states.flatten(1).clone()
        flipped[:, j] = 1 - flipped[:, j]
        change = (model(flipped.reshape_as(states)).flatten(1) - logits).abs()
        assert (change[:, : j + 1] == 0).all()
        assert (change[:, j + 1 :] > 0).any(0).all()
        assert j == 3 or (change[:, j + 1] > 1.0).all()  # strong between neighbours


def test_the_law_of_a_table_is_the_product_of_its_conditionals() -> None:
    # two pixels by hand: p(x_0=1) = ¾; p(x_1=1 | 0) = ½, p(x_1=1 | 1) = 0.9
    logits = torch.logit(torch.tensor([0.75, 0.5, 0.9], dtype=F64))
    states, log_prob = table_law(logits)
    assert states.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    torch.testing.assert_close(log_prob.exp(), torch.tensor([0.125, 0.125, 0.075, 0.675], dtype=F64))
    _, larger = table_law(strong_table(9, generator(3)))
    torch.testing.assert_close(larger.logsumexp(0), torch.tensor(0.0, dtype=F64))


@pytest.mark.parametrize("seed", range(20))
def test_a_sampler_in_another_pixel_order_is_far_from_the_law(seed: int) -> None:
    table = strong_table(4, generator(seed))
    states, log_prob = table_law(table)
    model = TableConditional(table)

    def law_of_sampler(order: list[int]) -> Tensor:
        """Exact law of filling pixels in this order, those unknown being zero."""
        drawn = torch.ones(len(states), dtype=F64)
        for step, i in enumerate(order):
            known = torch.zeros_like(states)
            known[:, order[:step]] = states[:, order[:step]]
            one = model(known)[:, i].sigmoid().detach()
            drawn *= torch.where(states[:, i] == 1, one, 1 - one)
        return drawn

    torch.testing.assert_close(law_of_sampler([0, 1, 2, 3]), log_prob.exp())
    by_columns = law_of_sampler([0, 2, 1, 3])
    assert 0.5 * (by_columns - log_prob.exp()).abs().sum() > 0.24


def test_unknown_pixels_may_hold_anything() -> None:
    model = TableConditional(strong_table(4, generator()))
    known = torch.tensor([[1.0, -1.0, -1.0, -1.0]])
    assert model(known)[0, 1] == model(torch.tensor([[1.0, 1.0, 0.0, 1.0]]))[0, 1]


def test_a_table_of_another_length_is_refused() -> None:
    assert pixels_of(torch.zeros(7)) == 3
    for bad in (torch.zeros(8), torch.zeros(0), torch.zeros(1, 3)):
        with pytest.raises(ValueError, match=r"shape \(2ⁿ − 1,\)"):
            TableConditional(bad)
    with pytest.raises(ValueError, match=r"3 pixels, got x of shape \(1, 4\)"):
        TableConditional(torch.zeros(7))(torch.zeros(1, 4))


def test_exploding_networks_explode() -> None:
    assert Exploding()(torch.ones(2)).isnan().all()
    with pytest.raises(RuntimeError, match="on purpose"):
        Exploding("raise")(torch.ones(2))
    with pytest.raises(ValueError, match="'nan' or 'raise', got 'quietly'"):
        Exploding("quietly")


def test_a_relu_map_depends_on_the_pixels_of_its_weights_and_shows_them_where_it_is_on() -> None:
    weight = torch.tensor([[0.0, 1.0], [2.0, -1.0]], dtype=F64)
    model = ReluMap(weight, torch.tensor([0.5, -1.0], dtype=F64))
    on, off = torch.tensor([[[[1.0, 0.5]]]], dtype=F64), torch.tensor([[[[0.0, 0.5]]]], dtype=F64)
    assert model(on).tolist() == [[[[1.0, 0.5]]]]
    torch.testing.assert_close(slope(model, on), weight.sum(0).reshape(1, 1, 1, 2))
    torch.testing.assert_close(slope(model, off), weight[0].reshape(1, 1, 1, 2))


def test_every_probe_says_what_is_known_of_it() -> None:
    assert all("Known: " in (probe.__doc__ or "") for probe in PROBES.values())
