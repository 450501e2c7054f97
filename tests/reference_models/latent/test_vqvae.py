"""Vector quantisation by brute force and closed-form gradients; the bound against a sum over all codes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from torch import Tensor, nn
from torch.distributions import Bernoulli

from reference_models.latent.vector_quantiser import VectorQuantiser, perplexity
from reference_models.latent.vqvae import VQVAE, residual_block
from tests.reference_models.helpers import binary_states, close, jacobian, numpy, perturb


def quantiser(K: int = 5, D: int = 3, **options: object) -> VectorQuantiser:
    return perturb(VectorQuantiser(K, D, **options), 1.0)  # type: ignore[arg-type]


def brute_force(q: VectorQuantiser, vectors: Tensor) -> Tensor:
    """The index of the nearest code for vectors (n, D), distance by distance."""
    codebook = numpy(q.codebook)
    return torch.tensor([int(np.argmin([((v - e) ** 2).sum() for e in codebook])) for v in numpy(vectors)])


@pytest.mark.parametrize("shape", [(7, 3), (2, 3, 4), (2, 3, 2, 3)])
def test_nearest_code_by_brute_force_on_vectors_sequences_and_maps(shape: tuple[int, ...]) -> None:
    q, z = quantiser(), torch.randn(shape)
    result = q(z)
    expected = brute_force(q, z.movedim(1, -1).reshape(-1, 3)).reshape(shape[0], *shape[2:])
    assert torch.equal(result.codes, expected)
    assert close(result.z_q.movedim(1, -1), q.codebook[expected], 1e-12)
    assert close(q.lookup(expected), result.z_q, 1e-12)
    assert len(expected.unique()) > 1


def test_gradient_goes_straight_through_and_never_to_the_codebook() -> None:
    """∂z_q/∂z is the identity; the codebook's gradient through z_q is zero."""
    q, z = quantiser(), torch.randn(1, 3)
    assert close(jacobian(lambda v: q(v[None]).z_q[0], z[0]), torch.eye(3), 1e-12)
    z = torch.randn(4, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad((q(z).z_q ** 3).sum(), [q.codebook], allow_unused=True)
    assert gradient is None or close(gradient, torch.zeros(5, 3), 0.0)


def test_losses_pull_only_their_own_side() -> None:
    """∂codebook_loss/∂e_k = Σ 2 (e_k − z)/n over its vectors and none for z; the commitment the reverse."""
    q, z = quantiser(), torch.randn(2, 3, 4).requires_grad_()
    result = q(z)
    n = z.numel()
    expected = torch.zeros(5, 3)
    vectors = z.detach().movedim(1, -1).reshape(-1, 3)
    for v, k in zip(vectors, result.codes.flatten(), strict=True):
        expected[k] += 2 * (q.codebook[k].detach() - v) / n
    e_gradient, z_gradient = torch.autograd.grad(result.codebook_loss, [q.codebook, z], allow_unused=True)
    assert close(e_gradient, expected)
    assert z_gradient is None
    e_gradient, z_gradient = torch.autograd.grad(result.commitment_loss, [q.codebook, z], allow_unused=True)
    assert e_gradient is None
    assert close(z_gradient, 2 * (z - q.lookup(result.codes)).detach() / n)
    assert close(result.codebook_loss, ((z - q.lookup(result.codes)) ** 2).mean())
    assert close(result.commitment_loss, result.codebook_loss.detach())


def test_codes_do_not_depend_on_the_batch() -> None:
    q, z = quantiser(), torch.randn(6, 3, 2)
    order = torch.randperm(6)
    assert torch.equal(q.nearest(z[order]), q.nearest(z)[order])
    assert torch.equal(q.nearest(z[2:3]), q.nearest(z)[2:3])


def test_one_moving_average_by_hand() -> None:
    """N ← γN + (1−γ)n, m ← γm + (1−γ)Σz, e = m/N, from counts of one and the initial codes, twice."""
    q = quantiser(ema_decay=0.9)
    with torch.no_grad():
        q.sums.copy_(q.codebook)
    z = torch.randn(8, 3)
    counts, sums = [1.0] * 5, q.codebook.detach().clone()
    for _ in range(2):
        codes = brute_force(q, z)
        q.update(z, codes)
        for k in range(5):
            counts[k] = 0.9 * counts[k] + 0.1 * int((codes == k).sum())
            sums[k] = 0.9 * sums[k] + 0.1 * z[codes == k].sum(0)
        assert close(q.codebook, sums / torch.tensor(counts)[:, None])
    assert not q.codebook.requires_grad


def test_moving_averages_settle_at_the_cluster_means_and_keep_unused_codes() -> None:
    """Three clusters, one code near each and one far off: after many steps the means to 1e-6, the idle code unmoved."""
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    z = (centres[:, None] + torch.randn(3, 20, 2)).reshape(60, 2)
    q = VectorQuantiser(4, 2, ema_decay=0.8)
    with torch.no_grad():
        q.codebook[:3], q.codebook[3] = centres + 0.5, torch.tensor([99.0, 99.0])
        q.sums.copy_(q.codebook)
    for _ in range(100):
        q.update(z, q.nearest(z))
    assert close(q.codebook[:3], z.reshape(3, 20, 2).mean(1), 1e-6)
    assert close(q.codebook[3], torch.tensor([99.0, 99.0]), 1e-9)
    q.ema_decay = 0.01
    for _ in range(200):  # the idle code's count and sum end at zero; the code stays
        q.update(z, q.nearest(z))
    assert float(q.counts[3]) == 0
    assert close(q.codebook[3], torch.tensor([99.0, 99.0]), 1e-6)


def test_restart_moves_dead_codes_onto_data(generator: torch.Generator) -> None:
    q, z = quantiser(ema_decay=0.9), torch.randn(6, 3, 2)
    q.counts.copy_(torch.tensor([0.01, 5.0, 0.5, 2.0, 0.02]))
    before = q.codebook.detach().clone()
    dead = q.restart(z, below=0.1, generator=generator)
    assert dead.tolist() == [True, False, False, False, True]
    assert close(q.codebook[~dead], before[~dead], 0.0)
    vectors = z.movedim(1, -1).reshape(-1, 3)
    assert all(bool((vectors == e).all(-1).any()) for e in q.codebook[dead])
    assert close(q.sums[dead], q.codebook[dead], 0.0)
    assert q.counts.tolist() == [1.0, 5.0, 0.5, 2.0, 1.0]


def test_perplexity_counts_the_codes_in_use() -> None:
    codes = torch.tensor([[0, 0, 1], [3, 3, 3]])
    assert abs(float(perplexity(codes, 6)) - math.exp(entropy([2, 1, 0, 3]))) < 1e-12
    assert close(perplexity(torch.arange(6), 6), 6.0)
    assert close(perplexity(torch.zeros(9, dtype=torch.long), 6), 1.0)


# --- the whole model


def tiny(K: int = 3, *, prior: bool = True, ema_decay: float | None = None) -> VQVAE:
    """Binary 2×2 images with one code each: 16 images, K codes, everything can be summed."""
    model = perturb(VQVAE.conv((1, 2, 2), K, 2, hidden=4, halvings=1, ema_decay=ema_decay, prior_hidden=4), 0.5)
    if not prior:
        model.prior = None
    return model


def images() -> Tensor:
    return binary_states(4).reshape(16, 1, 2, 2)


def joint(model: VQVAE) -> Tensor:
    """log p(k) + log p(x | k) for all 16 images and K codes, (16, K), by torch.distributions."""
    K = model.quantiser.K
    codes = torch.arange(K).reshape(K, 1, 1)
    logits = model.decoder(model.quantiser.codebook[:, :, None, None])  # (K, 1, 2, 2)
    log_lik = Bernoulli(logits=logits).log_prob(images()[:, None]).sum((-3, -2, -1))
    log_prior = torch.full((K,), -math.log(K)) if model.prior is None else model.prior.log_prob(codes)
    return log_lik + log_prior


@pytest.mark.parametrize("prior", [True, False])
def test_bound_is_the_term_of_the_chosen_code(prior: bool) -> None:
    """ELBO = log p(k(x)) + log p(x|k(x)), below log Σ_k p(k) p(x|k); the latter sums to one over all x."""
    model = tiny(prior=prior)
    table, codes = joint(model), model.encode(images()).flatten()
    bound = model.elbo(images())
    assert close(bound.value, table[torch.arange(16), codes])
    assert bool((bound.value < torch.logsumexp(table, 1)).all())
    assert close(table.exp().sum(), 1.0)
    if not prior:
        assert close(bound.kl, torch.full((16,), math.log(3)))


def test_uniform_prior_counts_every_cell() -> None:
    """Six codes on 2×2 cells: a rate of 4 log 6 nats, whatever x."""
    model = VQVAE.conv((1, 4, 4), 6, 2, hidden=4, halvings=1)
    model.prior = None
    assert close(model.elbo(torch.ones(3, 1, 4, 4)).kl, torch.full((3,), 4 * math.log(6)))


def test_codes_are_nearest_to_the_encoders_output() -> None:
    model = tiny()
    z = model.encoder(images())[:, :, 0, 0]
    assert torch.equal(model.encode(images()).flatten(), brute_force(model.quantiser, z))
    assert model.encode(images()[3]).shape == (1, 1)


@pytest.mark.parametrize("ema_decay", [None, 0.9])
def test_loss_is_nll_per_dimension_plus_codebook_plus_commitment(ema_decay: float | None) -> None:
    """By torch.distributions and mean squares; under EMA the codebook's term is left out and it gets no gradient."""
    model, x = tiny(ema_decay=ema_decay), images()
    z = model.encoder(x)
    e = model.quantiser.codebook[model.encode(x)].movedim(-1, 1)
    nll = -Bernoulli(logits=model.decoder(e)).log_prob(x).mean()
    distance = ((z - e) ** 2).mean()
    loss = model.loss(x)
    assert close(loss.nll, nll)
    assert close(loss.codebook, distance)
    assert close(loss.value, nll + (1.25 if ema_decay is None else 0.25) * distance)
    loss.value.backward()
    assert (model.quantiser.codebook.grad is None) is (ema_decay is not None)


def test_encoder_gets_the_decoders_gradient_at_the_code() -> None:
    """∂loss/∂z_e = ∂nll/∂z_q at the code's vector + 2β(z_e − e)/n, with z_e a free parameter for an encoder."""
    x = images()

    class Free(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.z = nn.Parameter(torch.randn(16, 2, 1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.z

    model = tiny()
    model.encoder = Free()
    (gradient,) = torch.autograd.grad(model.loss(x).value, [model.encoder.z])
    e = model.quantiser.codebook[model.encode(x)].movedim(-1, 1).detach().requires_grad_()
    (at_code,) = torch.autograd.grad(-Bernoulli(logits=model.decoder(e)).log_prob(x).mean(), [e])
    assert close(gradient, at_code + 2 * 0.25 * (model.encoder.z - e).detach() / 32)


def test_prior_is_trained_alone() -> None:
    """The gradient of −mean log p(k(x)) reaches the prior's parameters and no others; its value is by enumeration."""
    model = tiny()
    assert model.prior is not None
    loss = model.prior_loss(images())
    table = model.prior.log_prob(torch.arange(3).reshape(3, 1, 1))
    assert close(loss, -table[model.encode(images()).flatten()].mean())
    loss.backward()
    own = {id(p) for p in model.prior.parameters()}
    assert all((p.grad is not None) is (id(p) in own) or p is model.prior.embedding.weight for p in model.parameters())


def test_update_moves_the_codebook_towards_its_vectors() -> None:
    model = tiny(ema_decay=0.5)
    with torch.no_grad():
        model.quantiser.sums.copy_(model.quantiser.codebook)
    z, codes = model.encoder(images())[:, :, 0, 0].detach(), model.encode(images()).flatten()
    before = model.quantiser.codebook.detach().clone()
    model.update_codebook(images())
    for k in range(3):
        mine = z[codes == k]
        expected = (before[k] + mine.sum(0)) / (1 + len(mine))
        assert close(model.quantiser.codebook[k], expected)


@pytest.mark.parametrize("prior", [True, False])
def test_samples_have_the_enumerated_law(prior: bool, generator: torch.Generator) -> None:
    """χ² of 20000 draws over the 16 images against Σ_k p(k) p(x|k): χ²(15) < 65 but for 3e-8 of seeds."""
    model = perturb(tiny(prior=prior), 0.5)
    p = torch.logsumexp(joint(model), 1).exp().detach()
    x = model.sample(20000, generator=generator)
    counts = torch.bincount((x.flatten(1) @ torch.tensor([8.0, 4.0, 2.0, 1.0])).long(), minlength=16)
    assert float(((counts - 20000 * p) ** 2 / (20000 * p)).sum()) < 65
    assert float((p - 1 / 16).abs().max()) > 0.02


@pytest.mark.parametrize("batch", [(), (64,)])
def test_batch_shapes_and_single_precision(batch: tuple[int, ...]) -> None:
    model = perturb(VQVAE.conv((1, 8, 8), 6, 3, hidden=8, prior_hidden=4))
    x = (torch.rand(*batch, 1, 8, 8) < 0.5).double()
    bound = model.elbo(x)
    assert bound.value.shape == bound.kl.shape == batch
    assert model.encode(x).shape == (*batch, 2, 2)
    assert model.loss(x).value.shape == ()
    assert model.sample(2).shape == (2, 1, 8, 8)
    if batch:
        assert close(model.elbo(x[5]).value, bound.value[5])
    assert close(model.float().elbo(x.float()).value.double(), bound.value, 1e-3)


def test_residual_block_by_hand() -> None:
    block, x = perturb(residual_block(3, 5)), torch.randn(2, 3, 4, 4)
    _, wide, _, narrow = block.body
    assert isinstance(wide, nn.Conv2d)
    assert isinstance(narrow, nn.Conv2d)
    assert wide.kernel_size == (3, 3)
    assert narrow.kernel_size == (1, 1)
    assert close(block(x), x + narrow(torch.relu(wide(torch.relu(x)))))


def network_size(hidden: int, inner: int, halvings: int, D: int, C: int) -> tuple[int, int]:
    """Parameters of encoder and decoder, by hand: 4×4 convolutions, two residual blocks, a 1×1 convolution."""
    blocks = 2 * (9 * hidden * inner + inner + inner * hidden + hidden)
    between = (halvings - 1) * (16 * hidden * hidden + hidden)
    encoder = 16 * C * hidden + hidden + between + blocks + hidden * D + D
    decoder = D * hidden + hidden + blocks + between + 16 * hidden * C + C
    return encoder, decoder


def test_paper_size() -> None:
    """Section 4: 128×128×3 to a 32×32 grid of K = 512, networks of 256 units; counted by hand, none is stated."""
    with torch.device("meta"):
        model = VQVAE.paper()
        z = model.encoder(torch.zeros(1, 3, 128, 128))
        x = model.decoder(z)
    assert z.shape == (1, 64, 32, 32)
    assert x.shape == (1, 3, 128, 128)
    assert model.quantiser.codebook.shape == (512, 64)
    sizes = [sum(p.numel() for p in part.parameters()) for part in (model.encoder, model.decoder)]
    assert tuple(sizes) == network_size(256, 256, 2, 64, 3)


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="K must be at least 1, got 0"):
        VectorQuantiser(0, 2)
    with pytest.raises(ValueError, match=r"ema_decay must lie in \(0, 1\), got 1"):
        VectorQuantiser(2, 2, ema_decay=1.0)
    with pytest.raises(ValueError, match=r"z must have shape \(N, 3, \.\.\.\), got \(4, 2\)"):
        quantiser().nearest(torch.zeros(4, 2))
    with pytest.raises(ValueError, match="learns by gradient"):
        quantiser().update(torch.zeros(4, 3), torch.zeros(4, dtype=torch.long))
    with pytest.raises(ValueError, match="divisible by 4, got 8 × 6"):
        VQVAE.conv((1, 8, 6))
    with pytest.raises(ValueError, match=r"x must have shape \(1, 2, 2\)"):
        tiny().elbo(torch.zeros(1, 3, 3))
    with pytest.raises(ValueError, match="number of codes must be at least 1, got 0"):
        perplexity(torch.zeros(0, dtype=torch.long), 3)
    model = tiny()
    with pytest.raises(ValueError, match="beta must be at least 0, got -1"):
        VQVAE(
            model.encoder,
            model.decoder,
            model.quantiser,
            model.likelihood,
            event_shape=(1, 2, 2),
            grid=(1, 1),
            beta=-1.0,
        )


def test_vectors_start_uniform_within_one_over_k() -> None:
    """As in the authors' code: on (−1/K, 1/K), with the variance 1/(3K²) of that law."""
    vectors = VectorQuantiser(50, 400).codebook.detach()
    assert float(vectors.abs().max()) <= 1 / 50
    assert float(vectors.min()) < -0.9 / 50
    assert float(vectors.var() * 3 * 50**2) == pytest.approx(1.0, abs=0.03)
