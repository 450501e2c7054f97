"""What a trained VAE knows, by the judge's own draws, where its encoder and decoder may have been made to agree unseen.

A decoder that learns from the encoder which picture is meant, through an attribute, a global or a table looked up by
the code, reaches any bound: ln N nats are enough to name one of N pictures. A table shows as a jump on the way from
one code to another; what is smooth does not. So the decoder first answers codes of the prior, before any picture is
encoded. The log-mean of p(x | z) over these codes estimates ln p(x) without the encoder's
help, and what is scored is the worse of it and of the bound. With enough codes this costs an honest VAE nothing, since
the estimate lies above the bound: KL(q ‖ posterior) and all that importance weights gain are between the two.
Importance Weighted Autoencoders (Burda et al., 2016), theorem 1, https://arxiv.org/abs/1509.00519
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from autograder.errors import AuthorError, Wrong
from autograder.student import call
from autograder.vocabulary.calls import assert_tuple
from autograder.vocabulary.functions import assert_same_in_any_company
from autograder.vocabulary.samples import nearest_distance
from autograder.vocabulary.tensors import assert_close, assert_real, assert_shape

CODES = 20_000  # of the prior; e^9 of them see most pictures whose KL term is below 9 nats
WAYS, COARSE, FINE, FINER = 8, 64, 1024, 4.0  # pairs of codes, steps between them, how much smaller a step must get
COMPANY = 1e-3  # relative, of an answer in another batch
NEAR = 0.25  # of a deviation: a VAE hardly notices, and what a dead dimension shows at its exact mean is drowned
FAR = 1e-3  # largest step of a probability that is looked at: below, rounding decides


@dataclass(frozen=True)
class VAEFigures:
    """Means over the pictures asked about, in nats a picture.

    Args:
        bound: −E ln p(x | z) + KL(q ‖ p), smaller is better.
        without_encoder: −ln of the mean of p(x | z) over codes of the prior.
        kl: KL(q ‖ p).
        reconstruction: ln p(x | z) near z = mean: a quarter of a deviation away, in a random direction.
        latent: dimensions of a code.
    """

    bound: float
    without_encoder: float
    kl: float
    reconstruction: float
    latent: int

    @property
    def score(self) -> float:
        """The worse of the two estimates of −ln p(x)."""
        return max(self.bound, self.without_encoder)


def vae_figures(
    encoder: Any,
    decoder: Any,
    x: Tensor,
    among: Tensor,
    *,
    generator: Generator,
    draws: int = 20,
    codes: int = CODES,
    most_latent: int = 32,
    what: str = "the VAE",
) -> VAEFigures:
    """What a VAE of binary pictures knows of x, if its networks are functions of a row and its decoder is continuous.

    Args:
        encoder: (B, *image) to (mean, log_std), each (B, L). Asked in evaluation mode, as is the decoder.
        decoder: (B, L) to logits (B, *image).
        x: zeros and ones, (N, *image), float32, that nobody has seen.
        among: pictures of the training set, at least 4; half as many as x or fewer are mixed in.
        draws: of z for each picture.
        codes: of the prior.
        most_latent: largest L.

    Raises:
        Wrong: a shape, an answer that is not finite or depends on other rows, a jump, logits that change afterwards.
    """
    if len(x) < 2 * WAYS or len(among) < 4:
        raise AuthorError("a VAE is asked about 16 pictures or more, among four or more of the training set")
    names = f"the encoder of {what}", f"the decoder of {what}"
    latent = _encoded(encoder, among[:4], names[0])[0].shape[1]
    if latent > most_latent:
        raise Wrong(f"the codes of {what} have {latent} dimensions, at most {most_latent} are allowed")

    def decoded(z: Tensor) -> Tensor:
        logits = call(decoder, z, mode="eval")
        return assert_real(assert_shape(logits, (len(z), *x.shape[1:]), f"the logits of {names[1]}"), names[1])

    prior = torch.randn(codes, latent, generator=generator)
    before = decoded(prior)
    _assert_steps_shrink(decoded, prior[: 2 * WAYS], names[1])
    assert_same_in_any_company(
        decoded, prior[:64], strangers=(prior[64:160],), generator=generator, tolerance=COMPANY, what=names[1]
    )
    without_encoder = -float(_log_mean(before, x).mean())
    mixed = torch.cat([x, among[: max(len(x) // 2, 4)]])
    order = torch.randperm(len(mixed), generator=generator)
    place = order.argsort()[: len(x)]
    mean, log_std = (part[place] for part in _encoded(encoder, mixed[order], names[0]))

    def codes_of(rows: Tensor) -> Tensor:
        return torch.cat(_encoded(encoder, rows, names[0]), 1)

    assert_same_in_any_company(
        codes_of, x[:64], strangers=(among[:96],), generator=generator, tolerance=COMPANY, what=names[0]
    )
    reached = torch.zeros(len(x), dtype=torch.float64)
    for _ in range(draws):
        noise = torch.randn(mean.shape, generator=generator, dtype=torch.float64)
        reached += _log_prob(decoded((mean + log_std.exp() * noise).float()), x) / draws
    kl = (0.5 * (mean.square() + (2 * log_std).exp() - 1) - log_std).sum(1)
    aside = torch.randn(mean.shape, generator=generator, dtype=torch.float64)
    reconstruction = _log_prob(decoded((mean + NEAR * log_std.exp() * aside).float()), x)
    _assert_steps_shrink(decoded, mean[: 2 * WAYS].float(), f"{names[1]}, between codes of pictures,")
    size = max(float(before.abs().mean()), 1.0)
    assert_close(
        decoded(prior[:2000]), before[:2000], f"the logits of {names[1]}, asked again,", atol=COMPANY * size, rtol=0.0
    )
    return VAEFigures(
        bound=float((kl - reached).mean()),
        without_encoder=without_encoder,
        kl=float(kl.mean()),
        reconstruction=float(reconstruction.mean()),
        latent=latent,
    )


def mutual_distance(samples: Tensor, reference: Tensor) -> float:
    """Mean of the two mean distances, in pixels, from a binary picture to the nearest one of the other set.

    Pictures that are too typical are near the reference and leave much of it far; the other direction sees that.
    """
    return float(nearest_distance(samples, reference).mean() + nearest_distance(reference, samples).mean()) / 2


def _encoded(encoder: Any, x: Tensor, what: str) -> tuple[Tensor, Tensor]:
    parts = assert_tuple(call(encoder, x, mode="eval"), 2, f"the answer of {what}", names=("mean", "log_std"))
    mean = assert_real(assert_shape(parts[0], (len(x), -1), f"mean of {what}"), what)
    log_std = assert_real(assert_shape(parts[1], mean.shape, f"log_std of {what}"), what)
    return mean.double(), log_std.double()


def _log_prob(logits: Tensor, x: Tensor) -> Tensor:
    pixels = F.binary_cross_entropy_with_logits(logits.double(), x.double(), reduction="none")
    return -pixels.flatten(1).sum(1)


def _log_mean(logits: Tensor, x: Tensor) -> Tensor:
    """ln of the mean over codes of p(x | z), (N,)."""
    flat, rest = logits.flatten(1).float(), F.logsigmoid(-logits.flatten(1).float()).sum(1)
    # x ln s(l) + (1 − x) ln s(−l) = x l + ln s(−l)
    parts = [(rows @ flat.T + rest).double().logsumexp(1) for rows in x.flatten(1).float().split(200)]
    return torch.cat(parts) - math.log(len(logits))


def _assert_steps_shrink(decoded: Callable[[Tensor], Tensor], ends: Tensor, what: str) -> None:
    """Between pairs of codes the largest step of the probabilities falls as the way is cut more finely."""
    a, b = ends[:WAYS, None], ends[WAYS:, None]

    def largest(steps: int) -> Tensor:
        way = torch.linspace(0, 1, steps + 1)[:, None]
        rows = torch.cat(list(a + way * (b - a)))
        found = decoded(rows).double().sigmoid().reshape(WAYS, steps + 1, -1)
        return found.diff(dim=1).abs().amax((1, 2))

    coarse, fine = largest(COARSE), largest(FINE)
    jumps = int(((fine * FINER > coarse) & (coarse > FAR)).sum())
    if jumps:
        raise Wrong(
            f"{what} makes jumps: between {jumps} of {WAYS} pairs of codes the largest step of the probabilities, "
            f"{float(coarse.max()):.2g}, does not fall to a quarter when the way is cut into {FINE} steps in the place "
            f"of {COARSE}",
        )
