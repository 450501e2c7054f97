"""The hierarchy against torch.distributions group by group, integration over its latents, and NVAE's figures."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Normal, kl_divergence

from reference_models.latent.hierarchical_vae import HierarchicalVAE, Scale
from reference_models.latent.residual_group import Group, residual_normal_kl
from reference_models.parts.residual_cells import NVAEDecoderCell, NVAEEncoderCell, SqueezeExcite
from tests.reference_models.helpers import binary_states, close, perturb, standard_errors


def on_vectors() -> HierarchicalVAE:
    """Two latents of one number each, binary x of two: small enough to integrate."""
    return perturb(HierarchicalVAE((2,), [Scale(1, 2, 1)], width=3), 0.4)


def on_images(**options: object) -> HierarchicalVAE:
    return perturb(HierarchicalVAE((1, 4, 4), [Scale(1, 1, 2), Scale(2, 2, 1)], width=2, **options), 0.1)  # type: ignore[arg-type]


def test_residual_kl_is_torchs_for_64_pairs() -> None:
    """KL of N(μ_p + Δμ, (σ_p Δσ)²) to N(μ_p, σ_p²), whatever μ_p; zero without difference."""
    d_mean, d_log_std, p_mean, p_log_std = torch.randn(4, 64)
    q = Normal(p_mean + d_mean, (p_log_std + d_log_std).exp())
    assert close(residual_normal_kl(d_mean, d_log_std, p_log_std), kl_divergence(q, Normal(p_mean, p_log_std.exp())))
    zero = torch.zeros(64)
    assert close(residual_normal_kl(zero, zero, p_log_std), zero, 0.0)


def walk(model: HierarchicalVAE, x: Tensor, noise: list[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The way down for vectors, written with torch.distributions: log p(x|z), Σ log p, Σ log q, Σ KL."""
    h = model.stem(x[:, :, None, None])
    second = model.reads[1](h)
    features = [model.reads[0](second), second]
    s = model.start.expand(len(x), *model.start.shape)
    log_p, log_q, kl = torch.zeros(len(x)), torch.zeros(len(x)), torch.zeros(len(x))
    for i in range(2):
        group = model.groups[i]
        assert isinstance(group, Group)
        if i == 0:
            prior = Normal(torch.zeros(len(x), 1, 1, 1), 1.0)
        else:
            assert group.prior is not None
            mean, log_std = group.prior(s).chunk(2, 1)
            prior = Normal(mean, log_std.exp())
        d_mean, d_log_std = group.delta(features[i] + group.look(s)).chunk(2, 1)
        q = Normal(prior.mean + d_mean, prior.stddev * d_log_std.exp())
        z = q.mean + q.stddev * noise[i]
        log_p, log_q = log_p + prior.log_prob(z).flatten(), log_q + q.log_prob(z).flatten()
        kl = kl + kl_divergence(q, prior).flatten()
        s = group.cell(group.merge(torch.cat([s, z], 1)))
    return Bernoulli(logits=model.head(s).flatten(1)).log_prob(x).sum(-1), log_p, log_q, kl


def test_bound_and_its_parts_are_those_of_torchs_normals() -> None:
    model, x = on_vectors(), binary_states(2)
    noise = [torch.randn(4, 1, 1, 1) for _ in range(2)]
    reconstruction, log_p, log_q, kl = walk(model, x, noise)
    bound = model.elbo(x, noise=noise)
    down = model.descend(4, x=x, noise=noise)
    assert close(bound.reconstruction, reconstruction)
    assert close(bound.kl, kl)
    assert close(bound.value, reconstruction - kl)
    assert close(down.log_p.sum(0), log_p)
    assert close(down.log_q.sum(0), log_q)


def evidence(model: HierarchicalVAE, x: Tensor) -> Tensor:
    """log ∫∫ p(z_1) p(z_2|z_1) p(x|z) on a grid, following z from the top."""
    axis = torch.linspace(-9, 9, 181)
    z1, z2 = (g.reshape(-1, 1, 1, 1) for g in torch.meshgrid(axis, axis, indexing="ij"))
    down = model.descend(len(z1), z=[z1, z1])
    s = model.groups[0](model.start.expand(len(z1), *model.start.shape), z1)
    mean, log_std = model.groups[1].prior_parameters(s)  # type: ignore[operator]
    z2 = mean + log_std.exp() * z2  # a grid in units of the prior's own width
    down = model.descend(len(z1), z=[z1, z2])
    log_jacobian = log_std.flatten()
    terms = [Bernoulli(logits=down.h).log_prob(one).sum(-1) + down.log_p.sum(0) + log_jacobian for one in x]
    return torch.stack([torch.logsumexp(term, 0) for term in terms]) + 2 * math.log(0.1)


def test_evidence_sums_to_one_and_is_the_mean_weight() -> None:
    """Σ_x p(x) = 1 over all x, and ∫∫ q w = p(x): prior, posterior and likelihood fit together, to 1e-6."""
    model, x = on_vectors(), binary_states(2)
    with torch.no_grad():
        log_p = evidence(model, x)
        assert close(log_p.exp().sum(), 1.0, 1e-6)
        axis = torch.linspace(-30, 30, 301)
        e1, e2 = (g.reshape(-1, 1, 1, 1) for g in torch.meshgrid(axis, axis, indexing="ij"))
        for i in (1, 3):
            one = x[i].expand(len(e1), 2)
            down = model.descend(len(e1), x=one, noise=[e1, e2])
            log_w = Bernoulli(logits=down.h).log_prob(one).sum(-1) + (down.log_p - down.log_q).sum(0)
            weight = (Normal(0.0, 1.0).log_prob(e1) + Normal(0.0, 1.0).log_prob(e2)).flatten()
            mean_weight = torch.logsumexp(log_w + weight, 0) + 2 * math.log(60 / 300)
            assert close(mean_weight, log_p[i], 1e-6)


def test_expected_bound_is_the_expected_log_weight_and_lies_below_the_evidence() -> None:
    """Gauss–Hermite over both draws: the closed-form rates have the expectation of log q − log p."""
    model, x = on_vectors(), binary_states(2)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    e1, e2 = (g.reshape(-1, 1, 1, 1) for g in torch.meshgrid(*[torch.tensor(nodes)] * 2, indexing="ij"))
    w = torch.outer(torch.tensor(weights), torch.tensor(weights)).flatten() / (2 * math.pi)
    with torch.no_grad():
        log_p = evidence(model, x)
        for i in range(4):
            down = model.descend(1600, x=x[i].expand(1600, 2), noise=[e1, e2])
            assert close((w * down.kl.sum(0)).sum(), (w * (down.log_q - down.log_p).sum(0)).sum(), 1e-7)
            reconstruction = Bernoulli(logits=down.h).log_prob(x[i]).sum(-1)
            assert float((w * (reconstruction - down.kl.sum(0))).sum()) < float(log_p[i])


def test_posterior_without_difference_is_the_prior() -> None:
    """With the difference's last layer at zero every rate is zero, though the priors are not standard."""
    model, x = on_vectors(), binary_states(2)
    for group in model.groups:
        assert isinstance(group, Group)
        for parameter in group.delta.parameters():
            torch.nn.init.zeros_(parameter)
    assert close(model.elbo(x).kl, torch.zeros(4), 0.0)


def test_mean_of_drawn_weights_is_the_evidence(generator: torch.Generator) -> None:
    """A posterior shifted by 0.2 and wider than the prior by e^0.3, so that weights are bounded: the mean of 20000
    within 5 standard errors of p(x) on a grid, for each x."""
    model, x = on_vectors(), binary_states(2)
    for group in model.groups:
        assert isinstance(group, Group)
        last = group.delta[1]
        assert isinstance(last, nn.Conv2d)
        with torch.no_grad():
            last.weight.zero_()
            assert last.bias is not None
            last.bias.copy_(torch.tensor([0.2, 0.3]))
    with torch.no_grad():
        weights = model.log_weights(x, 20000, generator=generator).exp()
        assert standard_errors(weights, evidence(model, x).exp()) < 5


def test_samples_have_the_models_law(generator: torch.Generator) -> None:
    """χ² of 20000 draws over the four x against the evidence on a grid: χ²(3) < 38 but for 3e-8 of seeds."""
    model, states = perturb(on_vectors(), 0.6), binary_states(2)
    with torch.no_grad():
        p = evidence(model, states).exp()
    x = model.sample(20000, generator=generator)
    counts = torch.stack([(x == state).all(-1).sum() for state in states])
    assert float(((counts - 20000 * p) ** 2 / (20000 * p)).sum()) < 38
    assert float((p - 0.25).abs().max()) > 0.05


@pytest.mark.parametrize("batch", [(), (64,)])
@pytest.mark.parametrize("kind", ["vectors", "images", "nvae"])
def test_batch_shapes_consistency_and_single_precision(kind: str, batch: tuple[int, ...]) -> None:
    """Parts of the batch's shape; in evaluation no example depends on its neighbours; float32 to 1e-3."""
    model = {"vectors": on_vectors, "images": on_images, "nvae": lambda: on_images(nvae_cells=True, cells_per_group=2)}[
        kind
    ]()
    model.eval()
    n = batch[0] if batch else 1
    x = (torch.rand(*batch, *model.event_shape) < 0.5).double()
    shapes = [z.shape for z in model.descend(n, x=x.reshape(n, *model.event_shape)).z]
    noise = [torch.randn(shape) for shape in shapes]
    bound = model.elbo(x, noise=noise)
    assert bound.value.shape == bound.kl.shape == batch
    assert model.rates(x).shape == (len(shapes), *batch)
    assert model.log_weights(x, 3).shape == (3, *batch)
    if batch:
        alone = model.elbo(x[5], noise=[e[5:6] for e in noise])
        assert close(alone.value, bound.value[5])
    single = model.float().elbo(x.float(), noise=[e.float() for e in noise])
    assert close(single.value.double(), bound.value, 1e-3)


def test_groups_stand_at_their_resolutions_and_every_parameter_learns() -> None:
    """Top 1×1 with two channels, then two groups at 2×2 with one; all parameters get a gradient from one batch."""
    model = on_images()
    x = (torch.rand(5, 1, 4, 4) < 0.5).double()
    down = model.descend(5, x=x)
    assert [tuple(z.shape) for z in down.z] == [(5, 2, 1, 1), (5, 1, 2, 2), (5, 1, 2, 2)]
    model.elbo(x).value.mean().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not float(p.grad.abs().sum()) > 0]
    assert idle == []


def test_posterior_reads_x_and_prior_does_not() -> None:
    """Another x moves every group's posterior draw; without x, equal noise gives equal draws at any batch."""
    model = on_images()
    noise = [torch.randn(2, 2, 1, 1), torch.randn(2, 1, 2, 2), torch.randn(2, 1, 2, 2)]
    x = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)])
    for z in model.descend(2, x=x, noise=[e[:1].expand_as(e) for e in noise]).z:
        assert float((z[0] - z[1]).abs().max().detach()) > 1e-6
    unseen = model.descend(2, noise=[e[:1].expand_as(e) for e in noise])
    assert close(unseen.kl, torch.zeros(3, 2))
    for z in unseen.z:
        assert close(z[0], z[1])


def test_temperature_narrows_the_priors(generator: torch.Generator) -> None:
    """The top group of 4000 draws at temperature ½ has standard deviation ½ within 5 standard errors."""
    model = on_vectors()
    z = model.descend(4000, temperature=0.5, generator=generator).z[0].flatten()
    assert abs(float(z.std()) - 0.5) < 5 * 0.5 / (2 * 4000) ** 0.5
    assert bool((model.sample(3, temperature=0.5, generator=generator) <= 1).all())


def test_sampling_restores_the_training_flag() -> None:
    model = on_images(nvae_cells=True).train()
    before = {name: b.clone() for name, b in model.named_buffers()}
    assert model.sample(2).shape == (2, 1, 4, 4)
    assert all(m.training for m in model.modules())
    assert all(torch.equal(b, before[name]) for name, b in model.named_buffers())


def test_squeeze_excite_scales_channels_by_a_gate_of_their_means() -> None:
    se, x = perturb(SqueezeExcite(8)), torch.randn(3, 8, 2, 2)
    first, last = se.gate[0], se.gate[2]
    gate = torch.sigmoid(last(torch.relu(first(x.mean((2, 3))))))
    assert close(se(x), x * gate[:, :, None, None])


@pytest.mark.parametrize("kind", [NVAEEncoderCell, NVAEDecoderCell])
def test_a_cell_adds_a_tenth_of_its_branch(kind: type[NVAEEncoderCell] | type[NVAEDecoderCell]) -> None:
    cell, x = perturb(kind(4)).eval(), torch.randn(2, 4, 3, 3)
    assert close(cell(x), x + cell.body(x) / 10)


def cell_sizes(c: int) -> tuple[int, int]:
    """Parameters of NVAE's encoder and decoder cell at c channels, by hand from figure 3."""
    inner = max(c // 16, 4)
    se = c * inner + inner + inner * c + c
    encoder = 2 * 2 * c + 2 * (9 * c * c + c) + se
    decoder = 2 * c + 6 * c * c + 12 * c + 25 * 6 * c + 12 * c + 6 * c * c + 2 * c + se
    return encoder, decoder


def test_cells_have_the_size_of_figure_3() -> None:
    for c in (8, 64):
        assert sum(p.numel() for p in NVAEEncoderCell(c).parameters()) == cell_sizes(c)[0]
        assert sum(p.numel() for p in NVAEDecoderCell(c).parameters()) == cell_sizes(c)[1]


def test_paper_size() -> None:
    """NVAE's CIFAR-10 row of table 6: 30 groups of 20 × 16×16 latents, two cells each, at 256 channels; by hand."""
    with torch.device("meta"):
        model = HierarchicalVAE.nvae_cifar10()
    assert len(model.groups) == 30
    w = 256
    encoder, decoder = cell_sizes(w)
    prior, look, delta, merge = w * 40 + 40, w * w + w, 9 * w * 40 + 40, (w + 20) * w + w
    groups = 30 * (2 * encoder + 2 * decoder + look + delta + merge) + 29 * prior
    down, up = 16 * 128 * 256 + 256, 9 * 256 * 128 + 128
    ends = 9 * 3 * 128 + 128 + 2 * cell_sizes(128)[1] + 9 * 128 * 90 + 90 + w * 16 * 16
    assert sum(p.numel() for p in model.parameters()) == groups + down + up + ends


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="every resolution must be 8 divided by a power of two, got 3"):
        HierarchicalVAE((1, 8, 8), [Scale(3, 1, 1)])
    with pytest.raises(ValueError, match=r"resolutions must grow from the top, got \[4, 2\]"):
        HierarchicalVAE((1, 8, 8), [Scale(4, 1, 1), Scale(2, 1, 1)])
    with pytest.raises(ValueError, match="images must be square, got 8 × 4"):
        HierarchicalVAE((1, 8, 4), [Scale(4, 1, 1)])
    with pytest.raises(ValueError, match="number of scales must be at least 1, got 0"):
        HierarchicalVAE((1, 8, 8), [])
    with pytest.raises(ValueError, match="groups must be at least 1, got 0"):
        HierarchicalVAE((1, 8, 8), [Scale(4, 0, 1)])
    with pytest.raises(ValueError, match=r"x must have shape \(2\) or \(N, 2\), got \(3, 5\)"):
        on_vectors().elbo(torch.zeros(3, 5))
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        on_vectors().log_weights(torch.zeros(3, 2), 0)
    with pytest.raises(ValueError, match="temperature must be positive, got 0"):
        on_vectors().sample(2, temperature=0.0)
