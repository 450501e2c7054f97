"""Squeeze and factoring-out: permutations of numbers, checked number by number."""

from __future__ import annotations

import pytest
import torch

from reference_models.flows.change_of_variables import Composed
from reference_models.flows.glow import ActNorm, ConditionalGaussian
from reference_models.flows.multi_scale import Flatten, MultiScale, Squeeze
from tests.reference_models.helpers import close, perturb


def test_squeezing_sends_the_pixels_of_each_block_to_four_channels() -> None:
    """Figure 3 of the paper: a 4×4 image becomes four 2×2 images."""
    x = torch.arange(16.0).reshape(1, 4, 4)
    z, logdet = Squeeze((1, 4, 4))(x)
    expected = torch.tensor([[[0, 2], [8, 10]], [[1, 3], [9, 11]], [[4, 6], [12, 14]], [[5, 7], [13, 15]]])
    assert torch.equal(z, expected.to(x))
    assert float(logdet) == 0.0


def test_squeezing_is_torch_s_pixel_unshuffle() -> None:
    x = torch.randn(5, 3, 4, 6)
    assert torch.equal(Squeeze((3, 4, 6))(x)[0], torch.nn.functional.pixel_unshuffle(x, 2))


def two_levels(finish: bool) -> MultiScale:
    levels = [Composed([Squeeze((1, 4, 4)), ActNorm((4, 2, 2))]), Composed([Squeeze((2, 2, 2)), ActNorm((8, 1, 1))])]
    return perturb(MultiScale((1, 4, 4), levels, finish=ConditionalGaussian if finish else None)).eval()


def test_the_first_level_s_variables_come_first_and_are_not_touched_again() -> None:
    flow = two_levels(finish=False)
    x = torch.randn(3, 1, 4, 4)
    z, logdet = flow(x)
    h, first = flow.levels[0](x)
    staying, leaving = h[:, :2], h[:, 2:]
    rest, second = flow.levels[1](staying)
    assert close(z, torch.cat([leaving.reshape(3, 8), rest.reshape(3, 8)], dim=1), 1e-12)
    assert close(logdet, first + second, 1e-12)


def test_the_leaving_variables_are_gaussian_given_the_staying_ones() -> None:
    """log p of the first eight latents with the change of variables is that of torch.distributions."""
    flow = two_levels(finish=True)
    x = torch.randn(3, 1, 4, 4)
    z, logdet = flow(x)
    h, first = flow.levels[0](x)
    mean, log_std = flow.finish[0].mean_log_std(h[:, :2])
    normal = torch.distributions.Normal(mean, log_std.exp()).log_prob(h[:, 2:]).flatten(1).sum(1)
    standard = torch.distributions.Normal(torch.zeros(8), torch.ones(8)).log_prob(z[:, :8]).sum(1)
    _, second = flow.levels[1](h[:, :2])
    assert close(standard + logdet, normal + first + second, 1e-10)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"even H and W, got \(1, 3, 4\)"):
        Squeeze((1, 3, 4))
    with pytest.raises(ValueError, match=r"even H and W, got \(4,\)"):
        Squeeze((4,))
    with pytest.raises(ValueError, match=r"when their number is odd, got \(3, 2, 2\)"):
        MultiScale((3, 2, 2), [ActNorm((3, 2, 2)), ActNorm((1, 2, 2))])
    with pytest.raises(ValueError, match="the number of levels must be at least 1, got 0"):
        MultiScale((4, 2, 2), [])
    with pytest.raises(ValueError, match=r"a level takes \(4, 2, 2\), the one before it leaves \(2, 2, 2\)"):
        MultiScale((4, 2, 2), [ActNorm((4, 2, 2)), ActNorm((4, 2, 2))])


def test_flattening_keeps_the_order() -> None:
    x = torch.randn(2, 1, 2, 3)
    assert torch.equal(Flatten((1, 2, 3))(x)[0], x.reshape(2, 6))
