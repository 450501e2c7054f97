"""Draws with gradients and values with borrowed ones; the oracles are autograd and laws known exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from autograder.checks import StudentFault, assert_reparametrised, assert_straight_through
from autograder.errors import Wrong
from tests.autograder.vocabulary.forked import notebook
from tests.autograder.vocabulary.students import fails, generator

F64 = torch.float64


def normal(seed: int, *shape: int, dtype: torch.dtype = F64) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=F64).to(dtype)


def law(rows: int, columns: int, dtype: torch.dtype = F64) -> tuple[Tensor, Tensor]:
    return 1 + normal(1, rows, columns, dtype=dtype), 0.7 * normal(2, rows, columns, dtype=dtype)


RIGHT: list[Callable[[Tensor, Tensor], Tensor]] = [
    lambda m, s: m + s.exp() * torch.randn_like(s),
    lambda m, s: Normal(m, s.exp()).rsample(),
    lambda m, s: torch.randn(m.shape, dtype=m.dtype).mul(s.exp()).add(m),
    lambda m, s: torch.stack([a + b.exp() * torch.randn_like(b) for a, b in zip(m.t(), s.t(), strict=True)], 1),
    lambda m, s: torch.addcmul(m, s.exp(), torch.randn_like(m)),
]


@pytest.mark.parametrize("right", RIGHT)
@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize("columns", [1, 3])
def test_right_draws_pass_over_seeds(right: Any, dtype: torch.dtype, columns: int) -> None:
    for seed in range(5):
        assert_reparametrised(right, *law(4000, columns, dtype), seed=10 * seed)


def test_the_stated_rate_of_false_failures_is_kept() -> None:
    failed = 0
    for seed in range(250):
        try:
            assert_reparametrised(RIGHT[0], *law(1000, 2), seed=2 * seed, false_failure=0.1)
        except Wrong:
            failed += 1
    assert failed <= 250 * 0.1 + 4 * (250 * 0.09) ** 0.5


def test_other_scales_are_read_as_told() -> None:
    mean, log_std = law(4000, 2)
    assert_reparametrised(lambda m, v: m + (v / 2).exp() * torch.randn_like(v), mean, 2 * log_std, kind="log_var")
    assert_reparametrised(lambda m, d: m + d * torch.randn_like(d), mean, log_std.exp(), kind="std")
    fails(lambda: assert_reparametrised(RIGHT[0], mean, 2 * log_std, kind="log_var"), says="variance")


def row_noise(s: Tensor) -> Tensor:
    return torch.randn_like(s[:, :1]).expand_as(s)


WRONG: dict[str, tuple[Callable[[Tensor, Tensor], Any], str]] = {
    "variance for deviation": (lambda m, s: m + (2 * s).exp() * torch.randn_like(s), "variance"),
    "logarithm for deviation": (lambda m, s: m + s * torch.randn_like(s), "variance"),
    "no noise": (lambda m, s: m + 0 * s, "the noise (z − mean)/std of the draw has the wrong variance"),
    "noise kept": (lambda m, s: m + s.exp() * normal(0, *s.shape), "one call and the next are correlated"),
    "shared by rows": (lambda m, s: m + s.exp() * torch.randn_like(s[:1]), "the noise (z − mean)/std"),
    "shared by columns": (lambda m, s: m + s.exp() * row_noise(s), "not independent from entry to entry"),
    "shared by pairs of rows": (
        lambda m, s: m + s.exp() * torch.randn_like(s[::2]).repeat_interleave(2, 0),
        "products of the noise (z − mean)/std of the draw in neighbouring rows",
    ),
    "a half used twice": (
        lambda m, s: m + s.exp() * torch.randn_like(s[: len(s) // 2]).repeat(2, 1),
        "the first half of a batch and the second are correlated",
    ),
    "uniform": (lambda m, s: m + s.exp() * (torch.rand_like(s) - 0.5) * 12**0.5, "not standard normal"),
    "Laplace": (
        lambda m, s: m + s.exp() * torch.distributions.Laplace(0 * m, 0.5**0.5).sample(),
        "the noise (z − mean)/std",
    ),
    "signs": (lambda m, s: m + s.exp() * torch.randn_like(s).sign(), ""),
    "plain sample": (lambda m, s: Normal(m, s.exp()).sample(), "no gradient of the draw reaches `mean`"),
    "scale detached": (
        lambda m, s: m + s.exp().detach() * torch.randn_like(s),
        "no gradient of the draw reaches `log_std`",
    ),
    "mean detached": (
        lambda m, s: m.detach() + s.exp() * torch.randn_like(s),
        "no gradient of the draw reaches `mean`",
    ),
    "no graph": (torch.no_grad()(lambda m, s: m + s.exp() * torch.randn_like(s)), "no gradient"),
    "gradient twice": (
        lambda m, s: m + s.exp() * (e := torch.randn_like(s)) + (s.exp() - s.exp().detach()) * e,
        "the gradient of the sum of the draw in `log_std`",
    ),
    "NaN": (lambda m, s: m + s * torch.nan, "finite"),
    "shape": (lambda m, s: (m + s.exp() * torch.randn_like(s))[:, :1], "shape"),
    "None": (lambda m, s: None, "should be a tensor"),
    "tuple": (lambda m, s: (m, s), "should be a tensor"),
}


@pytest.mark.parametrize("error", WRONG)
def test_every_wrong_draw_fails_over_seeds(error: str) -> None:
    wrong, says = WRONG[error]
    for seed in range(5):
        with pytest.raises(StudentFault) as caught:
            assert_reparametrised(wrong, *law(4000, 3), seed=10 * seed)
        assert says in caught.value.message, caught.value.message


def test_few_rows_and_other_shapes_are_the_authors_mistake() -> None:
    for mean, scale in (
        (*law(100, 2),),
        (torch.zeros(4000), torch.zeros(4000)),
        (torch.zeros(4000, 2), torch.zeros(2)),
    ):
        with pytest.raises(ValueError, match="N ≥ 1000"):
            assert_reparametrised(RIGHT[0], mean, scale)


# straight through

CODEBOOK = normal(7, 5, 3)


def nearest(z: Tensor, codebook: Tensor) -> Tensor:
    """Values of the nearest codes for (B, D, H, W)."""
    flat = z.movedim(1, -1)
    return codebook[(flat[..., None, :] - codebook).square().sum(-1).argmin(-1)].movedim(-1, 1)


class Passing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, codebook: Tensor) -> Tensor:
        return nearest(z, codebook)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad, None


QUANTISED: list[Callable[[Tensor, Tensor], Tensor]] = [
    lambda z, e: z + (nearest(z, e) - z).detach(),
    lambda z, e: nearest(z, e.detach()) + z - z.detach(),
    lambda z, e: z + nearest(z, e).detach() - z.detach(),
    Passing.apply,
]


@pytest.mark.parametrize("right", QUANTISED)
@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize("batch", [1, 64])
def test_right_quantisers_pass(right: Any, dtype: torch.dtype, batch: int) -> None:
    z, e = normal(8, batch, 3, 2, 4, dtype=dtype), CODEBOOK.to(dtype)
    for seed in range(3):
        assert_straight_through(right, z, e, value=nearest(z, e), blocked=(1,), generator=generator(seed))


@pytest.mark.parametrize(
    ("wrong", "says", "hint"),
    [
        (nearest, "no gradient of the result reaches argument 1", None),
        (lambda z, e: nearest(z, e).detach(), "no gradient of the result reaches argument 1", None),
        (lambda z, e: nearest(z, e) + z - z.detach(), "a gradient of the result reaches argument 2", None),
        (
            lambda z, e: nearest(z, e) + (z - nearest(z, e)).detach(),
            "off by",
            "equals the argument: nothing was replaced",
        ),
        (lambda z, e: z + (nearest(z, e) - z), "no gradient of the result reaches argument 1", None),
        (lambda z, e: z + (nearest(z, e) + z).detach(), "off by", None),
        (lambda z, e: 2 * z + (nearest(z, e) - 2 * z).detach(), "the gradient of the result with respect", "twice"),
        (
            lambda z, e: z.flip(1) + (nearest(z, e) - z.flip(1)).detach(),
            "the gradient of the result with respect",
            "the right values in a different order",
        ),
        (lambda z, e: QUANTISED[0](z, e.flip(1)), "off by", None),
        (lambda z, e: QUANTISED[0](z, e) * torch.nan, "NaN", None),
        (lambda z, e: QUANTISED[0](z, e).movedim(1, -1), "shape", ""),
        (lambda z, e: None, "should be a tensor", ""),
    ],
)
def test_each_wrong_quantiser_fails(wrong: Callable[..., Any], says: str, hint: str | None) -> None:
    z = normal(8, 6, 3, 2, 4)
    for seed in range(3):
        ask = lambda seed=seed: assert_straight_through(  # noqa: E731
            wrong, z, CODEBOOK, value=nearest(z, CODEBOOK), blocked=(1,), generator=generator(seed)
        )
        fails(ask, says=says, hint=hint)


def soft_gumbel(logits: Tensor, tau: float, u: Tensor) -> Tensor:
    return ((logits - (-u.log()).log()) / tau).softmax(-1)


def hard_gumbel(logits: Tensor, tau: float, u: Tensor, error: str = "") -> Tensor:
    soft = soft_gumbel(logits, tau, u)
    chosen = logits if error == "of the logits" else soft
    hot = torch.nn.functional.one_hot(chosen.argmax(-1), logits.shape[-1]).to(logits.dtype)
    if error == "no gradient":
        return hot
    return logits + (hot - logits).detach() if error == "identity" else hot + soft - soft.detach()


@pytest.mark.parametrize("dtype", [F64, torch.float32])
@pytest.mark.parametrize("tau", [0.5, 2.0])
def test_a_hard_sample_has_the_gradient_of_the_soft_one(dtype: torch.dtype, tau: float) -> None:
    logits = normal(1, 64, 3, dtype=dtype)
    u = 0.02 + 0.96 * torch.rand(64, 3, generator=generator(2), dtype=F64).to(dtype)
    value = torch.nn.functional.one_hot(soft_gumbel(logits, tau, u).argmax(-1), 3).to(F64)
    ask = lambda fn: assert_straight_through(fn, logits, tau, u, value=value, soft=soft_gumbel)  # noqa: E731
    ask(hard_gumbel)
    fails(lambda: ask(lambda *q: hard_gumbel(*q, "of the logits")), says="off by 1")
    fails(lambda: ask(lambda *q: hard_gumbel(*q, "no gradient")), says="should be that of the smooth result")
    fails(lambda: ask(lambda *q: hard_gumbel(*q, "identity")), says="the gradient of the result")
    fails(lambda: ask(soft_gumbel), says="off by")


SOURCE = """
import torch
def reparametrise(mean, log_std):
    return mean + log_std.exp() * torch.randn_like(mean)
def quantise(z, codebook):
    flat = z.permute(0, 2, 3, 1)
    codes = torch.cdist(flat.reshape(1, -1, flat.shape[-1]), codebook[None])[0].argmin(1)
    q = codebook[codes].reshape(flat.shape).permute(0, 3, 1, 2)
    return z + (q - z).detach()
"""


def test_both_hold_in_a_worker() -> None:
    z = normal(8, 6, 3, 2, 4)
    with notebook(SOURCE) as student:
        assert_reparametrised(student.reparametrise, *law(4000, 3))
        assert_straight_through(student.quantise, z, CODEBOOK, value=nearest(z, CODEBOOK), blocked=(1,))
