"""D3PM: diffusion of discrete data, where each step replaces symbols at random by a stochastic matrix.

Rows of Q_t are laws: q(x_t = j | x_{t−1} = i) = [Q_t]_ij. With Q̄_t = Q_1 ⋯ Q_t and x_0 a one-hot row,

    q(x_t | x_0)          = x_0 Q̄_t                                                            (eq. 3)
    q(x_{t−1} | x_t, x_0) ∝ (x_t Q_tᵀ) ⊙ (x_0 Q̄_{t−1})                                         (eq. 3)
    p(x_{t−1} | x_t)      ∝ (x_t Q_tᵀ) ⊙ (p̃(x_0 | x_t) Q̄_{t−1}),  p̃ the network's guess       (eq. 4)
    L = L_vb + λ E[−log p̃(x_0 | x_t)],  t uniform in the second                                (eq. 5)

uniform     Q = (1−β) I + β 1 1ᵀ/K: a symbol is redrawn with probability β                     (appendix A.2.1)
absorbing   Q = (1−β) I + β 1 e_mᵀ: a symbol is masked; β_t = 1/(T−t+1) masks evenly in t       (appendix A.2.2)

"Structured Denoising Diffusion Models in Discrete State-Spaces" (Austin, Johnson, Ho, Tarlow, van den Berg, 2021),
https://arxiv.org/abs/2107.03006; uniform: "Argmax Flows and Multinomial Diffusion" (Hoogeboom et al., 2021),
https://arxiv.org/abs/2102.05379

Indices: t = 0..T−1 mean x_1..x_T.
NOTE: the first step decodes by p(x_0 | x_1) = p̃(x_0 | x_1), as the paper's code does; it is drawn from, where the code
for images takes the likeliest symbol. That code adds λ times the cross-entropy to a single term of L_vb, which is a sum
of T: the paper's λ (0.01 for text, 0.001 for images) are T times as much in terms of the λ here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference_models.diffusion.gaussian_diffusion import Bound
from reference_models.parts.require import at_least, has_event_shape
from reference_models.parts.shapes import flatten_batch, restore_batch, sum_event
from reference_models.parts.training import evaluating
from reference_models.protocols import Elbo


class Transitions(nn.Module):
    """Matrices Q_1..Q_T over S states, (T, S, S), and the law p(x_T), (S,).

    Raises ValueError for rows that are no probability laws.
    """

    matrices: Tensor
    cumulative: Tensor  # (T + 1, S, S): entry t + 1 is Q̄ at index t, entry 0 the identity
    prior: Tensor

    def __init__(self, matrices: Tensor, prior: Tensor) -> None:
        super().__init__()
        if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or prior.shape != matrices.shape[1:2]:
            shapes = f"{tuple(matrices.shape)} and {tuple(prior.shape)}"
            raise ValueError(f"matrices and prior must have shapes (T, S, S) and (S,), got {shapes}")
        for name, rows in (("matrix row", matrices), ("prior", prior)):
            if bool((rows < 0).any()) or not torch.allclose(rows.sum(-1), torch.ones_like(rows.sum(-1)), atol=1e-5):
                raise ValueError(f"every {name} must be a probability law, got sums {rows.sum(-1).tolist()}")
        cumulative = [torch.eye(len(prior), dtype=matrices.dtype, device=matrices.device)]
        for matrix in matrices:
            cumulative.append(cumulative[-1] @ matrix)
        self.register_buffer("matrices", matrices)
        self.register_buffer("cumulative", torch.stack(cumulative))
        self.register_buffer("prior", prior)

    @classmethod
    def uniform(cls, betas: Tensor, classes: int) -> Transitions:
        """Symbols are redrawn uniformly, with probabilities betas (T,) in [0, 1]; S = classes."""
        at_least("classes", classes, 2)
        beta = _probabilities(betas)
        redraw = torch.full((classes, classes), 1.0 / classes, dtype=betas.dtype, device=betas.device)
        identity = torch.eye(classes, dtype=betas.dtype, device=betas.device)
        return cls((1.0 - beta) * identity + beta * redraw, redraw[0])

    @classmethod
    def absorbing(cls, steps: int, classes: int) -> Transitions:
        """Symbols are masked, evenly over the steps; S = classes + 1, the last state being the mask."""
        at_least("classes", classes, 2)
        at_least("steps", steps, 1)
        betas = 1.0 / (steps - torch.arange(steps, dtype=torch.get_default_dtype()))
        mask = torch.zeros(classes + 1, dtype=betas.dtype)
        mask[classes] = 1.0
        beta = _probabilities(betas)
        return cls((1.0 - beta) * torch.eye(classes + 1, dtype=betas.dtype) + beta * mask, mask)

    @property
    def steps(self) -> int:
        """T."""
        return len(self.matrices)

    @property
    def states(self) -> int:
        """S."""
        return len(self.prior)

    def marginal(self, x_0: Tensor, t: Tensor) -> Tensor:
        """q(x_t | x_0) of each symbol: x_0 long (N, *event), t (N,), −1..T−1 -> (N, *event, S)."""
        return self.cumulative[_spread(t, x_0) + 1, x_0]

    def posterior(self, log_x_0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """log q(x_{t−1} | x_t, x_0) of each symbol, (N, *event, S), for t (N,) in 0..T−1.

        log_x_0: logs of laws, (N, *event, K), K ≤ S: those of one-hot rows give the posterior, log p̃ gives
            log p(x_{t−1} | x_t)
        NaN where x_t cannot come from x_0, as a symbol other than x_0 and the mask in absorbing diffusion
        """
        log_step = self.matrices[_spread(t, x_t), :, x_t].log()  # log x_t Q_tᵀ, (N, *event, S)
        log_before = log_product(log_x_0.flatten(1, -2), self.cumulative[t])  # log x_0 Q̄_{t−1}, (N, E, S)
        return (log_step + log_before.reshape(log_step.shape)).log_softmax(-1)


class D3PM(nn.Module):
    """A network that guesses symbols from noisy ones, with its diffusion.

    network: (x_t long (N, *event) of S states, t long (N,)) -> logits of x_0, (N, *event, K)
    event_shape: shape of one example; classes: K, the symbols of data being 0..K−1
    auxiliary: λ, the weight of the cross-entropy in the loss
    """

    def __init__(
        self,
        network: nn.Module,
        transitions: Transitions,
        event_shape: Sequence[int],
        classes: int,
        *,
        auxiliary: float = 0.01,
    ) -> None:
        super().__init__()
        if not 2 <= classes <= transitions.states:
            raise ValueError(f"classes must lie in 2..{transitions.states}, the number of states, got {classes}")
        at_least("auxiliary", auxiliary, 0.0)
        self.network = network
        self.transitions = transitions
        self.event_shape = tuple(event_shape)
        self.classes = classes
        self.auxiliary = auxiliary

    def _checked(self, x: Tensor) -> tuple[Tensor, torch.Size]:
        has_event_shape("x", x, self.event_shape)
        if x.is_floating_point() or (x.numel() and not 0 <= int(x.min()) <= int(x.max()) < self.classes):
            raise ValueError(f"x must hold integers in 0..{self.classes - 1}, got {x.dtype} in [{x.min()}, {x.max()}]")
        return flatten_batch(x, len(self.event_shape))

    def guess(self, x_t: Tensor, t: Tensor) -> Tensor:
        """log p̃(x_0 | x_t), (N, *event, K), from x_t (N, *event), t (N,)."""
        logits: Tensor = self.network(x_t, t)
        return logits.log_softmax(-1)

    def reverse(self, x_t: Tensor, t: Tensor, guess: Tensor | None = None) -> Tensor:
        """log p(x_{t−1} | x_t) of each symbol, (N, *event, S), t (N,), from `guess` or the network's guess.

        The mask has no mass at the first step.
        """
        guess = self.guess(x_t, t) if guess is None else guess
        first = F.pad(guess, (0, self.transitions.states - self.classes), value=-math.inf)
        later = self.transitions.posterior(guess, x_t, t.clamp(min=min(1, self.transitions.steps - 1)))
        return torch.where(expand_last(t, first) == 0, first, later)

    def diffuse(self, x_0: Tensor, t: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """A draw of x_t given x_0 long (N, *event), t (N,)."""
        return draw(self.transitions.marginal(x_0, t), generator)

    def term(self, x_0: Tensor, x_t: Tensor, t: Tensor, guess: Tensor | None = None) -> Tensor:
        """L_t of the bound: KL(q(x_{t−1}|x_t,x_0) ‖ p(x_{t−1}|x_t)), or −log p(x_0|x_1) at t = 0; nats, (N,)."""
        log_p = self.reverse(x_t, t, guess)
        point = F.one_hot(x_0, self.classes).to(log_p.dtype).log()
        kl = categorical_kl(self.transitions.posterior(point, x_t, t), log_p)  # −log p(x_0|x_1) at t = 0, q a point
        return sum_event(kl, len(self.event_shape))

    def prior_kl(self, x_0: Tensor) -> Tensor:
        """L_T = KL(q(x_T | x_0) ‖ p(x_T)), nats, (N,)."""
        t = torch.full((len(x_0),), self.transitions.steps - 1, device=x_0.device)
        kl = categorical_kl(self.transitions.marginal(x_0, t).log(), self.transitions.prior.log())
        return sum_event(kl, len(self.event_shape))

    def loss(self, x: Tensor, *, t: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """Eq. 5 with one uniform t an example, nats, summed over symbols, averaged over the batch, a scalar.

        x: long (N, *event); t (N,) is drawn unless given. The expectation of the first part is L_vb.
        """
        x_0, _ = self._checked(x)
        if t is None:
            t = torch.randint(self.transitions.steps, (len(x_0),), generator=generator, device=x.device)
        x_t = self.diffuse(x_0, t, generator)
        guess = self.guess(x_t, t)
        bound = self.prior_kl(x_0) + self.transitions.steps * self.term(x_0, x_t, t, guess)
        chosen = guess.gather(-1, x_0.unsqueeze(-1)).squeeze(-1)
        return (bound - self.auxiliary * sum_event(chosen, len(self.event_shape))).mean()

    def bound(self, x: Tensor, *, generator: torch.Generator | None = None) -> Bound:
        """Every term of L_vb with one draw of x_t each, nats, summed over symbols, (*B,)."""
        x_0, batch = self._checked(x)
        terms = []
        for index in range(self.transitions.steps):
            t = torch.full((len(x_0),), index, device=x.device)
            terms.append(restore_batch(self.term(x_0, self.diffuse(x_0, t, generator), t), batch))
        stacked = torch.stack(terms)
        return Bound(restore_batch(self.prior_kl(x_0), batch), stacked[1:], -stacked[0])

    def elbo(self, x: Tensor, *, generator: torch.Generator | None = None) -> Elbo:
        """−L_vb ≤ log p(x), nats, (*B,)."""
        return self.bound(x, generator=generator).elbo

    def sample(self, n: int, *, generator: torch.Generator | None = None) -> Tensor:
        """n samples, long (n, *event)."""
        at_least("n", n, 1)
        with evaluating(self):
            x = draw(self.transitions.prior.expand(n, *self.event_shape, -1), generator)
            for index in reversed(range(self.transitions.steps)):
                x = draw(self.reverse(x, torch.full((n,), index, device=x.device)).exp(), generator)
        return x


def log_product(law: Tensor, matrix: Tensor) -> Tensor:
    """log(exp(law) Q) for rows of logs (N, E, K) and the first K rows of matrices Q (N, S, S): (N, E, S).

    In two parts, for a law that underflows must keep its gradient: what stays where it is, Q's diagonal, is multiplied
    in logs, what moves in double precision.
    """
    classes, states = law.shape[-1], matrix.shape[-1]
    between = matrix[:, :classes]  # (N, K, S)
    stays = law + between.diagonal(dim1=1, dim2=2).log().unsqueeze(1)  # (N, E, K)
    stays = F.pad(stays, (0, states - classes), value=-math.inf)
    moves = law.double().exp() @ (between.tril(-1) + between.triu(1)).double()  # (N, E, S)
    none = moves == 0
    log_moves = moves.masked_fill(none, 1.0).log().masked_fill(none, -math.inf).to(law.dtype)
    never = none & (stays == -math.inf)  # its −∞ must not meet another in `logaddexp`, whose gradient would be NaN
    return torch.logaddexp(stays.masked_fill(never, 0.0), log_moves).masked_fill(never, -math.inf)


def categorical_kl(log_q: Tensor, log_p: Tensor) -> Tensor:
    """KL(q ‖ p) over the last dimension, nats, where 0 log 0 = 0."""
    q = log_q.exp()
    safe_p = log_p.masked_fill(q == 0, 0.0)  # keeps 0 · (−∞) out of values and gradients
    return (q * (log_q.masked_fill(q == 0, 0.0) - safe_p)).sum(-1)


def draw(probabilities: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """One symbol of each law, (*S, K) to long (*S)."""
    flat = torch.multinomial(probabilities.reshape(-1, probabilities.shape[-1]), 1, generator=generator)
    return flat.reshape(probabilities.shape[:-1])


def expand_last(t: Tensor, x: Tensor) -> Tensor:
    """t (N,) with dimensions of size one appended until it broadcasts against x (N, ...)."""
    return t.reshape(-1, *(1,) * (x.ndim - 1))


def _spread(t: Tensor, x: Tensor) -> Tensor:
    return expand_last(t, x).expand(x.shape)


def _probabilities(betas: Tensor) -> Tensor:
    if betas.ndim != 1 or len(betas) == 0 or not bool(((betas > 0) & (betas <= 1)).all()):
        raise ValueError(f"betas must be numbers in (0, 1], shape (T,), got {betas.tolist()}")
    return betas[:, None, None]
