"""Solved from the release alone, from top to bottom, by the hints and the recipe: the usual PyTorch steps."""

# %% theory-discriminator-answer
def optimal_discriminator(p, q, prior):
    """The best discriminator of two finite laws, and the value of the game there.

    p, q: (K,), probabilities of real and of fake samples; prior: the probability of real. Returns d (K,) and value ().
    """
    real, fake = prior * p, (1 - prior) * q
    d = real / (real + fake)
    value = torch.special.xlogy(real, d).sum() + torch.special.xlogy(fake, fake / (real + fake)).sum()
    return d, value

# %% theory-conjugate-answer
def conjugate(t):
    """f*(t) of the triangular discrimination, elementwise, for t <= 1; differentiable for t < 1."""
    # f'(u) = 1 - 4 / (u + 1)^2 runs from -3 (u = 0) to 1. For t >= -3: u + 1 = 2 / sqrt(1 - t), f* = s^2 - 4 s + 3.
    # Below -3 the supremum is at u = 0, where it is -f(0) = -1.
    s = (1 - t.clamp(min=-3)).sqrt()
    return s * s - 4 * s + 3


def optimal_critic(ratio):
    """The best critic T* at u = p/q >= 0, elementwise."""
    return 1 - 4 / (ratio + 1) ** 2

# %% theory-penalty-answer
def penalised_critic(theta, lam):
    """The best critic of task 1.3: its steepness |D'|, the gap D(0) - D(theta), and the maximum, three numbers."""
    steepness = 1 + theta / (2 * lam)
    return steepness, theta * steepness, theta + theta**2 / (4 * lam)

# %% theory-bias-answer
def frechet_bias(dims, n, m):
    """Expected Fréchet distance between n and m features of the same N(0, I) in `dims` dimensions, to leading order."""
    return dims * (1 / n + 1 / m) + dims * (dims + 1) / 4 * (1 / (n - 1) + 1 / (m - 1))

# %% gan-losses-answer
def discriminator_loss(real_logits, fake_logits):
    """Cross-entropy of telling real from fake; real_logits (N,), fake_logits (M,). Returns a scalar."""
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def generator_loss(fake_logits, kind):
    """The generator's loss, to be minimised. kind: "minimax" or "non-saturating". Returns a scalar."""
    if kind == "minimax":
        return -F.softplus(fake_logits).mean()
    if kind == "non-saturating":
        return F.softplus(-fake_logits).mean()
    raise ValueError(f"unknown kind {kind!r}")


def lsgan_losses(real_scores, fake_scores, a=0.0, b=1.0, c=1.0):
    """Least squares losses (d_loss, g_loss), two scalars."""
    d_loss = (real_scores - b).square().mean() / 2 + (fake_scores - a).square().mean() / 2
    return d_loss, (fake_scores - c).square().mean() / 2

# %% gan-steps-answer
def discriminator_step(generator, discriminator, optimizer, real, noise):
    """One step of the discriminator; optimizer holds its parameters only. real (B, *), noise (M, *). Returns the loss."""
    optimizer.zero_grad()
    with torch.no_grad():
        fake = generator(noise)
    loss = discriminator_loss(discriminator(real), discriminator(fake))
    loss.backward()
    optimizer.step()
    return loss.item()


def generator_step(generator, discriminator, optimizer, noise):
    """One non-saturating step of the generator; optimizer holds its parameters only. Returns the loss."""
    optimizer.zero_grad()
    loss = generator_loss(discriminator(generator(noise)), "non-saturating")
    loss.backward(inputs=[p for group in optimizer.param_groups for p in group["params"]])  # not the discriminator's
    optimizer.step()
    return loss.item()

# %% fgan-answer
def fgan_losses(t_real, t_fake, conjugate):
    """(critic_loss, generator_loss) of the f-GAN game; t_real (N,), t_fake (M,); conjugate: f*, elementwise."""
    cost = conjugate(t_fake).mean()
    return cost - t_real.mean(), -cost


def activation(v, name):
    """Brings raw outputs v, of any shape, into the domain of f*. name: "kl", "pearson", "reverse-kl" or "gan"."""
    if name in ("kl", "pearson"):
        return v
    if name == "reverse-kl":
        return -torch.exp(-v)
    if name == "gan":
        return -F.softplus(-v)
    raise ValueError(f"unknown name {name!r}")

# %% critic-answer
def critic_losses(real_scores, fake_scores):
    """Wasserstein losses (critic_loss, generator_loss), two scalars."""
    return fake_scores.mean() - real_scores.mean(), -fake_scores.mean()


def clip_parameters(critic, c):
    """Clip every parameter of a module to [-c, c], in place."""
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.clamp_(-c, c)


def wasserstein_1d(x, y):
    """The exact distance W_1 of two samples on a line, x (N,), y (M,), float64. Returns a scalar."""
    points = torch.cat([x, y]).sort().values
    stairs = [torch.searchsorted(sample.sort().values, points[:-1], right=True).double() / len(sample) for sample in (x, y)]
    return ((stairs[0] - stairs[1]).abs() * points.diff()).sum()

# %% gradient-penalty-answer
def gradient_penalty(critic, real, fake):
    """Mean of (|grad D| - 1)^2 at random points between real and fake, (B, *) both. Returns a scalar with its graph."""
    t = torch.rand(len(real), *[1] * (real.dim() - 1), dtype=real.dtype)
    x_hat = (t * real + (1 - t) * fake).requires_grad_()
    (slope,) = torch.autograd.grad(critic(x_hat).sum(), x_hat, create_graph=True)
    norm = (slope.flatten(1).square().sum(1) + 1e-12).sqrt()
    return (norm - 1).square().mean()


def critic_step(generator, critic, optimizer, real, noise, lam):
    """One step of the critic on its loss + lam * penalty; optimizer holds its parameters only. Returns the loss."""
    optimizer.zero_grad()
    with torch.no_grad():
        fake = generator(noise)
    loss = critic_losses(critic(real), critic(fake))[0] + lam * gradient_penalty(critic, real, fake)
    loss.backward()
    optimizer.step()
    return loss.item()

# %% spectral-norm-answer
def power_iteration(weight, u, n_steps):
    """n_steps >= 1 steps from u (out,) on weight (out, ...). Returns sigma (), u (out,) and v (rest,)."""
    matrix = weight.flatten(1)
    with torch.no_grad():
        for _ in range(n_steps):
            v = F.normalize(matrix.T @ u, dim=0)
            u = F.normalize(matrix @ v, dim=0)
    return u @ matrix @ v, u, v


class SpectralLinear(nn.Linear):
    """A linear layer whose weight is divided by an estimate of its largest singular value."""

    def __init__(self, in_features, out_features):
        super().__init__(in_features, out_features)
        self.register_buffer("u", F.normalize(torch.randn(out_features), dim=0))

    def forward(self, x):
        """x (B, in_features) to (B, out_features)."""
        sigma, u, _ = power_iteration(self.weight, self.u, 1)
        if self.training:
            self.u.copy_(u)
        return F.linear(x, self.weight / sigma, self.bias)

# %% conditional-answer
class ProjectionDiscriminator(nn.Module):
    """Logits of samples with labels, psi(h) + <e_y, h>."""

    def __init__(self, features, dim, n_classes):
        super().__init__()
        self.features = features
        self.psi = nn.Linear(dim, 1)
        self.embedding = nn.Embedding(n_classes, dim)

    def forward(self, x, label):
        """x (B, *), label (B,) whole numbers. Returns (B,)."""
        h = self.features(x)
        return self.psi(h).squeeze(1) + (self.embedding(label) * h).sum(1)


def cycle_losses(g_ab, g_ba, a, b):
    """The dictionary {"cycle": scalar, "identity": scalar}; a (N, *) and b (M, *)."""
    cycle = (g_ba(g_ab(a)) - a).abs().mean() + (g_ab(g_ba(b)) - b).abs().mean()
    identity = (g_ab(b) - b).abs().mean() + (g_ba(a) - a).abs().mean()
    return {"cycle": cycle, "identity": identity}

# %% inception-score-answer
def inception_score(probs):
    """exp of the mean divergence of the rows from their mean; probs (N, K). Returns a scalar."""
    mean = probs.mean(0)
    divergence = (torch.special.xlogy(probs, probs) - torch.special.xlogy(probs, mean)).sum(1)
    return divergence.mean().exp()

# %% frechet-answer
def feature_statistics(features):
    """Mean (D,) and covariance (D, D) of features (N, D), divided by N - 1."""
    mean = features.mean(0)
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - 1)


def frechet_distance(mean_1, cov_1, mean_2, cov_2):
    """Squared Fréchet distance of two Gaussians; means (D,), covariances (D, D), float64. Returns a scalar."""
    values, vectors = torch.linalg.eigh(cov_1)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    product = root @ cov_2 @ root
    overlap = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0).sqrt().sum()
    return (mean_1 - mean_2).square().sum() + cov_1.trace() + cov_2.trace() - 2 * overlap

# %% precision-recall-answer
def precision_recall(real, fake, k):
    """(precision, recall) by the distances to the k-th nearest other point; real (N, D), fake (M, D)."""

    def distances(x, y):  # exact, so that points that coincide are at distance 0 (the fast way gives 1e-8)
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")

    def radii(x):
        d = distances(x, x)
        d.fill_diagonal_(math.inf)
        return d.kthvalue(k, dim=1).values

    between = distances(fake, real)  # (M, N)
    precision = (between <= radii(real)).any(1).to(real.dtype).mean()
    recall = (between.T <= radii(fake)).any(1).to(real.dtype).mean()
    return precision, recall

# %% truncation-answer
def truncate(w, mean, psi):
    """Move w (B, D) towards mean (D,): psi = 1 changes nothing, psi = 0 gives the mean."""
    return mean + psi * (w - mean)


def truncated_normal(shape, threshold):
    """Independent draws of N(0, 1) given |z| <= threshold, of this shape."""
    z = torch.randn(shape)
    outside = z.abs() > threshold
    while outside.any():
        z[outside] = torch.randn(int(outside.sum()))
        outside = z.abs() > threshold
    return z

# %% train-ring-answer
def perceptron(inputs, outputs, width=128):
    """Three hidden layers of ReLUs."""
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
    )


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = perceptron(2, 1)

    def forward(self, x):
        return self.net(x).squeeze(1)


def make_generator():
    """A new, untrained generator with an attribute noise_dim: (n, noise_dim) to (n, 2)."""
    generator = perceptron(8, 2)
    generator.noise_dim = 8
    return generator


def make_critic():
    """A new, untrained critic: (n, 2) to (n,)."""
    return Critic()


def fit_wgan_gp(generator, critic, data, steps, watch=None):
    """Train both networks in place on data (N, 2). Returns the critic's loss at each of the generator's steps."""
    batch, rate, lam, turns = 128, 1e-3, 1.0, 2
    of_generator = torch.optim.Adam(generator.parameters(), rate, betas=(0.0, 0.9))
    of_critic = torch.optim.Adam(critic.parameters(), rate, betas=(0.0, 0.9))
    losses = []
    for step in range(steps):
        if watch:
            watch(step)
        for optimizer in (of_generator, of_critic):
            optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        for _ in range(turns):
            real = data[torch.randint(len(data), (batch,))]
            loss = critic_step(generator, critic, of_critic, real, torch.randn(batch, generator.noise_dim), lam)
        losses.append(loss)
        of_generator.zero_grad()
        scores = critic(generator(torch.randn(batch, generator.noise_dim)))
        critic_losses(scores, scores)[1].backward(inputs=list(generator.parameters()))
        of_generator.step()
    if watch:
        watch(steps)
    return losses

# %% train-ring-run
# Bind the trained networks to `ring_generator` and `ring_critic`, the losses to `ring_losses`, and the snapshots to `ring_snapshots`.
with when_written():
    torch.manual_seed(0)
    ring_generator, ring_critic = make_generator(), make_critic()
    ring_snapshots = Snapshots(ring_generator)
    ring_losses = fit_wgan_gp(ring_generator, ring_critic, ring_train, 2000, ring_snapshots)
    ring_generator.eval()
    ring_critic.eval()

# %% train-ring-metrics-answer
def evaluate_ring(real, fake, centres, sigma):
    """Measures of fakes (M, 2) beside real points (N, 2): the dictionary with frechet, precision, recall and modes."""
    precision, recall = precision_recall(real, fake, 5)
    held = (torch.cdist(fake, centres) <= 3 * sigma).double().mean(0)
    return {
        "frechet": frechet_distance(*feature_statistics(real), *feature_statistics(fake)),
        "precision": precision,
        "recall": recall,
        "modes": int((held >= 0.02).sum()),
    }
