"""Vector quantisation with a gradient: the nearest of K vectors, straight through, and two ways to learn them.

    k(z) = argmin_j ‖z − e_j‖,   z_q = z + sg[e_k − z]      so ∂z_q/∂z = I and the codebook gets none of that gradient
    by gradient   ‖sg[z] − e_k‖² moves the codebook, ‖z − sg[e_k]‖² keeps the encoder near it               eq. 3
    by averages   N_j ← γ N_j + (1−γ) n_j,   m_j ← γ m_j + (1−γ) Σ_{k(z)=j} z,   e_j = m_j / N_j            eq. 6–8

Neural Discrete Representation Learning (van den Oord, Vinyals, Kavukcuoglu, 2017), section 3 and appendix A.1,
https://arxiv.org/abs/1711.00937

NOTE: the losses are means over all entries, as in the authors' code, where eq. 3 has norms. The authors' code smooths
the counts, (N_j + ε) / (ΣN + K ε) · ΣN, so that a code nobody chooses is never divided by zero; here e_j = m_j / N_j is
exact, and such a code keeps its place once its count has faded away.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from reference_models.parts.require import at_least, within


@dataclass(frozen=True)
class Quantised:
    """`z_q`, straight-through, the shape of z_e; `codes`, long, without the channel; the losses, (), without β."""

    z_q: Tensor
    codes: Tensor
    codebook_loss: Tensor
    commitment_loss: Tensor


class VectorQuantiser(nn.Module):
    """K vectors of dimension D; vectors (N, D) or feature maps (N, D, *S) are replaced by the nearest of them.

    ema_decay: γ; the codebook then follows `update` and takes no gradient. Without it, it learns by its loss.
    """

    counts: Tensor
    sums: Tensor

    def __init__(self, K: int, D: int, *, ema_decay: float | None = None) -> None:
        super().__init__()
        at_least("K", K, 1)
        at_least("D", D, 1)
        if ema_decay is not None:
            within("ema_decay", ema_decay, 0, 1, "()")
        self.ema_decay = ema_decay
        initial = (2 * torch.rand(K, D) - 1) / K
        self.codebook = nn.Parameter(initial, requires_grad=ema_decay is None)
        self.register_buffer("counts", torch.ones(K))  # N_j: each code starts with one vector, itself
        self.register_buffer("sums", initial.clone())  # m_j

    @property
    def K(self) -> int:  # noqa: N802  the paper's letter
        """How many codes there are."""
        return len(self.codebook)

    def nearest(self, z: Tensor) -> Tensor:
        """k(x), long: (N, D, *S) to (N, *S); of codes equally near, the first."""
        if z.ndim < 2 or z.shape[1] != self.codebook.shape[1]:
            raise ValueError(f"z must have shape (N, {self.codebook.shape[1]}, ...), got {tuple(z.shape)}")
        # ‖z − e‖² without ‖z‖², which is the same for every e
        distance = self.codebook.square().sum(dim=1) - 2 * z.movedim(1, -1) @ self.codebook.T  # (N, *S, K)
        return distance.argmin(dim=-1)

    def lookup(self, codes: Tensor) -> Tensor:
        """The vectors of the codes: long (N, *S) to (N, D, *S)."""
        return self.codebook[codes].movedim(-1, 1)

    def forward(self, z: Tensor) -> Quantised:
        codes = self.nearest(z.detach())
        e = self.lookup(codes)
        codebook_loss, commitment_loss = F.mse_loss(e, z.detach()), F.mse_loss(z, e.detach())
        return Quantised(z + (e - z).detach(), codes, codebook_loss, commitment_loss)

    @torch.no_grad()
    def update(self, z: Tensor, codes: Tensor) -> None:
        """One EMA step (eq. 6–8) from a batch of vectors and their codes; what no vector chose keeps its place."""
        if self.ema_decay is None:
            raise ValueError("this codebook learns by gradient: it was built without ema_decay")
        vectors = z.movedim(1, -1).flatten(0, -2)  # (n, D)
        chosen = F.one_hot(codes.flatten(), self.K).to(z.dtype)  # (n, K)
        self.counts.lerp_(chosen.sum(dim=0), 1 - self.ema_decay)
        self.sums.lerp_(chosen.T @ vectors, 1 - self.ema_decay)
        alive = self.counts > 1e-6  # counts fade geometrically and would end as 0 / 0
        self.codebook[alive] = self.sums[alive] / self.counts[alive, None]

    @torch.no_grad()
    def restart(self, z: Tensor, *, below: float, generator: Generator | None = None) -> Tensor:
        """Moves codes with N_j ≤ `below` onto vectors drawn from z, (N, D, *S); returns which, bool (K,).

        A code that no vector is near would never be used: the random restarts of Jukebox (Dhariwal et al., 2020),
        https://arxiv.org/abs/2005.00341. N_j is the mean number of vectors that a batch gives code j. It moves with
        `update` only: a codebook that learns by gradient has N_j = 1 throughout. With `below` infinite all are moved.
        """
        dead = self.counts <= below
        vectors = z.movedim(1, -1).flatten(0, -2)
        picked = torch.randint(len(vectors), (int(dead.sum()),), generator=generator, device=z.device)
        self.codebook[dead] = vectors[picked]
        self.sums[dead], self.counts[dead] = vectors[picked], 1.0
        return dead


def perplexity(codes: Tensor, K: int) -> Tensor:
    """exp of the entropy of the codes' frequencies, from 1 (one code used) to K (all equally); codes of any shape."""
    at_least("the number of codes", codes.numel(), 1)
    p = torch.bincount(codes.flatten(), minlength=K).double() / codes.numel()
    entropy: Tensor = torch.special.entr(p).sum()
    return entropy.exp()
