"""Derivatives written out, flags frozen and put back, a new tensor in the buffer's place, entropies and nuclear norms, averaged weights."""

# %% theory-discriminator-answer
def optimal_discriminator(p, q, prior):
    """The posterior of "real", through log-odds, and minus the conditional entropy."""
    odds = math.log(prior / (1 - prior)) + p.log() - q.log()  # ±inf where one of them is impossible
    m = prior * p + (1 - prior) * q
    d = torch.sigmoid(odds)
    entropy = torch.special.entr(d) + torch.special.entr(torch.sigmoid(-odds))
    return d, -torch.einsum("k,k->", m, entropy)

# %% theory-conjugate-answer
class TriangularConjugate(torch.autograd.Function):
    """f* with its derivative, the maximising u, written out."""

    @staticmethod
    def forward(ctx, t):
        u = torch.relu(2 * torch.rsqrt(1 - t) - 1)  # infinite at t = 1
        ctx.save_for_backward(u)
        return torch.where(t < 1, t * u - (u - 1) ** 2 / (u + 1), torch.full_like(t, 3.0))

    @staticmethod
    def backward(ctx, grad):
        return grad * ctx.saved_tensors[0]


conjugate = TriangularConjugate.apply


def optimal_critic(ratio):
    """The best critic T* at u = p/q >= 0, elementwise."""
    return (ratio - 1) * (ratio + 3) / (ratio + 1).square()

# %% theory-penalty-answer
from typing import NamedTuple


class BestCritic(NamedTuple):
    steepness: float
    gap: float
    objective: float


def penalised_critic(theta, lam):
    """The best critic of task 1.3, by its excess theta / 2 lam over slope 1."""
    excess = 0.5 * theta / lam
    return BestCritic(steepness=1 + excess, gap=theta * (1 + excess), objective=theta * (1 + excess) - lam * excess**2)

# %% theory-bias-answer
def frechet_bias(dims, n, m):
    """Leading order, with N in the place of N - 1 in the mean's term only (no difference)."""
    return sum(dims / size + (dims**2 + dims) / (4 * (size - 1)) for size in (n, m))

# %% gan-losses-answer
def discriminator_loss(real_logits, fake_logits):
    """Binary cross-entropy with logits, twice."""
    bce = F.binary_cross_entropy_with_logits
    return bce(real_logits, torch.ones_like(real_logits)) + bce(fake_logits, torch.zeros_like(fake_logits))


def generator_loss(fake_logits, kind):
    """One table instead of branches."""
    sign = {"minimax": -1, "non-saturating": 1}[kind]
    zeros = torch.zeros_like(fake_logits)
    return sign * torch.logaddexp(-sign * fake_logits, zeros).mean()


def lsgan_losses(real_scores, fake_scores, a=0.0, b=1.0, c=1.0):
    """Least squares losses (d_loss, g_loss), two scalars."""

    def half(scores, target):
        return F.mse_loss(scores, torch.full_like(scores, target)) / 2

    return half(real_scores, b) + half(fake_scores, a), half(fake_scores, c)

# %% gan-steps-answer
class frozen:
    """Inside, nothing reaches the parameters of a network; afterwards flags and gradients are as they were."""

    def __init__(self, network):
        self.parameters = list(network.parameters()) if isinstance(network, nn.Module) else []

    def __enter__(self):
        self.flags = [p.requires_grad for p in self.parameters]
        for p in self.parameters:
            p.requires_grad_(False)

    def __exit__(self, *error):
        for p, flag in zip(self.parameters, self.flags):
            p.requires_grad_(flag)


def descend(optimizer, loss):
    """One step on a loss; no gradient is left anywhere."""
    own = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    for p, grad in zip(own, torch.autograd.grad(loss, own, allow_unused=True)):
        p.grad = grad
    optimizer.step()
    optimizer.zero_grad()
    return float(loss.detach())


def discriminator_step(generator, discriminator, optimizer, real, noise):
    """One step of the discriminator; optimizer holds its parameters only. real (B, *), noise (M, *). Returns the loss."""
    with frozen(generator):
        return descend(optimizer, discriminator_loss(discriminator(real), discriminator(generator(noise).detach())))


def generator_step(generator, discriminator, optimizer, noise):
    """One non-saturating step of the generator; optimizer holds its parameters only. Returns the loss."""
    with frozen(discriminator):
        return descend(optimizer, generator_loss(discriminator(generator(noise)), "non-saturating"))

# %% fgan-answer
def fgan_losses(t_real, t_fake, conjugate):
    """(critic_loss, generator_loss) of the f-GAN game; t_real (N,), t_fake (M,); conjugate: f*, elementwise."""
    generator = -conjugate(t_fake).sum() / t_fake.numel()
    return -(t_real.sum() / t_real.numel()) - generator, generator


def activation(v, name):
    """A table of functions."""
    return {"kl": torch.clone, "pearson": torch.clone, "reverse-kl": lambda v: -v.neg().exp(), "gan": F.logsigmoid}[name](v)

# %% critic-answer
def critic_losses(real_scores, fake_scores):
    """The weights ±1/N as one dot product."""
    generator = -fake_scores.mean()
    return -(real_scores.mean() + generator), generator


def clip_parameters(critic, c):
    """By hands on .data."""
    for parameter in critic.parameters():
        parameter.data.clamp_(min=-c, max=c)


def wasserstein_1d(x, y):
    """Signed jumps ±1/N, ±1/M at all points in order; their running sum is the height between the staircases."""
    points, order = torch.sort(torch.cat((x, y)))
    jumps = torch.cat((torch.full_like(x, 1 / len(x)), torch.full_like(y, -1 / len(y))))[order]
    return torch.dot(jumps.cumsum(0)[:-1].abs(), torch.diff(points))

# %% gradient-penalty-answer
def gradient_penalty(critic, real, fake):
    """With torch.lerp; the weight t of real is drawn as one number for each row."""
    rows = real.shape[0]
    t = torch.distributions.Uniform(real.new_zeros(()), real.new_ones(())).sample((rows,))
    x_hat = torch.lerp(fake.detach(), real.detach(), t.view(rows, *(1,) * (real.ndim - 1)).expand_as(real))
    x_hat = nn.Parameter(x_hat)
    scores = critic(x_hat)
    slope = torch.autograd.grad(scores, x_hat, torch.ones_like(scores), create_graph=True, materialize_grads=True)[0]
    return F.mse_loss(torch.linalg.vector_norm(slope.reshape(rows, -1), dim=1), torch.ones_like(t))


def critic_step(generator, critic, optimizer, real, noise, lam):
    """One step of the critic on its loss + lam * penalty; optimizer holds its parameters only. Returns the loss."""
    with frozen(generator):
        fake = generator(noise).detach()
    penalty = gradient_penalty(critic, real, fake) if lam else 0.0
    scores_real, scores_fake = critic(real), critic(fake)
    return descend(optimizer, critic_losses(scores_real, scores_fake)[0] + lam * penalty)

# %% spectral-norm-answer
def power_iteration(weight, u, n_steps):
    """Detached matrices instead of no_grad; sigma through einsum."""
    matrix = weight.reshape(weight.shape[0], -1)
    fixed, u = matrix.detach(), u.detach()
    for _ in range(n_steps):
        v = torch.einsum("oi,o->i", fixed, u)
        v = v / v.norm()
        u = torch.einsum("oi,i->o", fixed, v)
        u = u / u.norm()
    return torch.einsum("o,oi,i->", u, matrix, v), u, v


class SpectralLinear(nn.Linear):
    """A linear layer whose weight is divided by an estimate of its largest singular value."""

    def __init__(self, in_features, out_features):
        super().__init__(in_features, out_features)
        self.register_buffer("u", torch.full((out_features,), out_features**-0.5))
        with torch.no_grad():
            self.u.add_(0.01 * torch.randn(out_features))
            self.u.div_(self.u.norm())

    def forward(self, x):
        """x (B, in_features) to (B, out_features)."""
        if self.training:
            sigma, self.u, _ = power_iteration(self.weight, self.u, 1)  # a new tensor in the buffer's place
        else:
            v = F.normalize(self.u @ self.weight.detach(), dim=0)
            sigma = self.u @ (self.weight @ v)
        return x @ self.weight.T / sigma + self.bias

# %% conditional-answer
class ProjectionDiscriminator(nn.Module):
    """psi's row and the embedding's row are one vector, (w + e_y) . h + bias."""

    def __init__(self, features, dim, n_classes):
        super().__init__()
        self.features, self.psi, self.embedding = features, nn.Linear(dim, 1), nn.Embedding(n_classes, dim)

    def forward(self, x, label):
        """x (B, *), label (B,) whole numbers. Returns (B,)."""
        direction = self.psi.weight + self.embedding(label)
        return torch.einsum("bd,bd->b", direction, self.features(x)) + self.psi.bias


def cycle_losses(g_ab, g_ba, a, b):
    """The dictionary {"cycle": scalar, "identity": scalar}; a (N, *) and b (M, *)."""
    pairs = {"cycle": ((g_ba(g_ab(a)), a), (g_ab(g_ba(b)), b)), "identity": ((g_ab(b), b), (g_ba(a), a))}
    return {name: sum(F.l1_loss(found, meant) for found, meant in both) for name, both in pairs.items()}

# %% inception-score-answer
def inception_score(probs):
    """exp of a mutual information: entropy of the mean row less the mean entropy of the rows."""
    entropy = torch.special.entr
    return torch.exp(entropy(probs.mean(0)).sum() - entropy(probs).sum(1).mean())

# %% frechet-answer
def feature_statistics(features):
    """Mean (D,) and covariance (D, D) of features (N, D), divided by N - 1."""
    cov = torch.atleast_2d(torch.cov(features.T))
    return torch.mean(features, dim=0), cov


def frechet_distance(mean_1, cov_1, mean_2, cov_2):
    """The trace of the root is the nuclear norm of C1^(1/2) C2^(1/2)."""

    def root(cov):
        values, vectors = torch.linalg.eigh(cov)
        return torch.einsum("ik,k,jk->ij", vectors, values.clamp_min(0).sqrt(), vectors)

    overlap = torch.linalg.matrix_norm(root(cov_1) @ root(cov_2), "nuc")
    return torch.dot(mean_1 - mean_2, mean_1 - mean_2) + torch.trace(cov_1 + cov_2) - 2 * overlap

# %% precision-recall-answer
def precision_recall(real, fake, k):
    """Plain differences, (N, M, D); the point itself is among the k + 1 nearest, at distance 0."""

    def between(x, y):
        return (x[:, None] - y[None]).square().sum(2)

    def share(points, others):
        radius = between(others, others).topk(k + 1, dim=1, largest=False).values[:, -1]
        return (between(points, others) <= radius).any(dim=1).double().mean()

    return share(fake, real), share(real, fake)

# %% truncation-answer
def truncate(w, mean, psi):
    """Move w (B, D) towards mean (D,): psi = 1 changes nothing, psi = 0 gives the mean."""
    return psi * w + (1 - psi) * mean


def truncated_normal(shape, threshold):
    """Inverse of the distribution function, in float64."""
    edge = 0.5 * math.erfc(threshold / math.sqrt(2))
    draws = torch.empty(shape, dtype=torch.float64).uniform_(edge, 1 - edge)
    return torch.special.ndtri(draws).clamp(-threshold, threshold)

# %% train-ring-answer
class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, width):
        super().__init__()
        self.inside = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, x):
        return x + self.inside(x)


class Flat(nn.Module):
    """(n, ...) to (n,)"""

    def forward(self, x):
        return x.flatten()


def make_generator():
    """Residual blocks over 4 numbers of noise."""
    network = nn.Sequential(nn.Linear(4, 80), Residual(80), Residual(80), nn.ReLU(), nn.Linear(80, 2))
    network.noise_dim = 4
    return network


def make_critic():
    """A new, untrained critic: (n, 2) to (n,)."""
    return nn.Sequential(nn.Linear(2, 80), Residual(80), nn.ReLU(), nn.Linear(80, 80), nn.ReLU(), nn.Linear(80, 1), Flat())


def fit_wgan_gp(generator, critic, data, steps, watch=None):
    """As in 2.5, with an average of the generator's weights over the last half, put in at the end."""
    adams = {net: torch.optim.AdamW(net.parameters(), lr=1.5e-3, betas=(0.0, 0.9), weight_decay=0.0) for net in (critic, generator)}
    fall = [torch.optim.lr_scheduler.LambdaLR(adam, lambda step: max(1 - step / steps, 0.0)) for adam in adams.values()]
    average, losses = [p.detach().clone() for p in generator.parameters()], []
    for step in range(steps):
        if watch:
            watch(step)
        order = torch.randperm(len(data))
        for turn in range(2):
            real = data[order[128 * turn : 128 * (turn + 1)]]
            loss = critic_step(generator, critic, adams[critic], real, torch.randn(len(real), generator.noise_dim), lam=1.0)
        losses.append(loss)
        with frozen(critic):
            descend(adams[generator], -critic(generator(torch.randn(128, generator.noise_dim))).mean())
        for each in fall:
            each.step()
        with torch.no_grad():
            for old, new in zip(average, generator.parameters()):
                old.lerp_(new, 0.02)
    with torch.no_grad():
        for old, new in zip(average, generator.parameters()):
            new.copy_(old)
    if watch:
        watch(steps)
    return losses

# %% train-ring-run
# Bind the trained networks to `ring_generator` and `ring_critic`, the losses to `ring_losses`, and the snapshots to `ring_snapshots`.
with when_written():
    torch.manual_seed(17)
    ring_critic = make_critic()
    ring_generator = make_generator()
    ring_snapshots = Snapshots(ring_generator)
    ring_losses = fit_wgan_gp(ring_generator, ring_critic, ring_train, steps=1800, watch=ring_snapshots)
    ring_generator.eval()

# %% train-ring-metrics-answer
def evaluate_ring(real, fake, centres, sigma):
    """Measures of fakes (M, 2) beside real points (N, 2): the dictionary with frechet, precision, recall and modes."""
    measures = dict(zip(("precision", "recall"), map(float, precision_recall(real, fake, k=5))))
    measures["frechet"] = float(frechet_distance(*feature_statistics(fake), *feature_statistics(real)))
    near = (fake[:, None] - centres).square().sum(-1) <= (3 * sigma) ** 2
    measures["modes"] = torch.count_nonzero(near.sum(0) >= 0.02 * len(fake)).item()
    return measures
