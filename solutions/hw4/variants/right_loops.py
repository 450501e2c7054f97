"""Python loops and NumPy, the chain rule by hand, a sigma with its own derivative, classes of its own for results, NAdam."""

# %% theory-discriminator-answer
def optimal_discriminator(p, q, prior):
    """State by state, in Python's own floats."""
    d, value = [], 0.0
    for of_real, of_fake in zip(p.tolist(), q.tolist()):
        a, b = prior * of_real, (1 - prior) * of_fake
        d.append(a / (a + b))
        value += a * math.log(a / (a + b)) if a > 0 else 0.0
        value += b * math.log(b / (a + b)) if b > 0 else 0.0
    return p.new_tensor(d), p.new_tensor(value)

# %% theory-conjugate-answer
def conjugate(t):
    """(s - 2)^2 - 1 with s = sqrt(1 - t) above -3; below it stays at -1."""
    out = 0 * t - 1
    inside = t > -3
    out[inside] = ((1 - t[inside]) ** 0.5 - 2) ** 2 - 1
    return out


def optimal_critic(ratio):
    """By autograd: f'(u) itself."""
    with torch.enable_grad():
        u = ratio.detach().clone().requires_grad_()
        f = (u - 1) ** 2 / (u + 1)
        return torch.autograd.grad(f.sum(), u)[0]

# %% theory-penalty-answer
def penalised_critic(theta, lam):
    """Completing the square: theta s - lam (s - 1)^2 = theta + theta^2 / 4 lam - lam (s - 1 - theta / 2 lam)^2."""
    theta, lam = torch.tensor(theta, dtype=torch.float64), torch.tensor(lam, dtype=torch.float64)
    objective = theta + theta.square() / (4 * lam)
    steepness = (objective - theta) * 2 / theta + 1
    return float(steepness), float(theta * steepness), float(objective)

# %% theory-bias-answer
def frechet_bias(dims, n, m):
    """Counting the entries: D off-mean, D diagonal ones with variance 2, D (D - 1) others."""
    per_sample = dims + (2 * dims + dims * (dims - 1)) / 4
    return per_sample / n + per_sample / m

# %% gan-losses-answer
class Game:
    """Losses of both players from the two log-probabilities."""

    @staticmethod
    def log_real(logits):
        return F.logsigmoid(logits)

    @staticmethod
    def log_fake(logits):
        return F.logsigmoid(-logits)


def discriminator_loss(real_logits, fake_logits):
    """Cross-entropy of telling real from fake; real_logits (N,), fake_logits (M,). Returns a scalar."""
    return -(Game.log_real(real_logits).mean() + Game.log_fake(fake_logits).mean())


def generator_loss(fake_logits, kind):
    """The generator's loss, to be minimised. kind: "minimax" or "non-saturating". Returns a scalar."""
    match kind:
        case "minimax":
            return torch.mean(Game.log_fake(fake_logits))
        case "non-saturating":
            return -torch.mean(Game.log_real(fake_logits))
        case _:
            raise KeyError(kind)


def lsgan_losses(real_scores, fake_scores, a=0.0, b=1.0, c=1.0):
    """Least squares losses (d_loss, g_loss), two scalars."""
    halves = [0.5 * torch.pow(x - y, 2).mean() for x, y in ((real_scores, b), (fake_scores, a), (fake_scores, c))]
    return halves[0] + halves[1], halves[2]

# %% gan-steps-answer
def discriminator_step(generator, discriminator, optimizer, real, noise):
    """Both halves go through the discriminator in one batch."""
    fake = generator(noise).detach()
    logits = discriminator(torch.cat([real, fake]))
    loss = discriminator_loss(*logits.split([len(real), len(fake)]))
    optimizer.zero_grad(set_to_none=False)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach().clone()


def generator_step(generator, discriminator, optimizer, noise):
    """The chain rule by hand, cut at the fakes: nothing is ever computed for the discriminator's parameters."""
    fake = generator(noise)
    seen = fake.detach().requires_grad_()
    loss = generator_loss(discriminator(seen), "non-saturating")
    (pull,) = torch.autograd.grad(loss, seen)
    optimizer.zero_grad()
    fake.backward(pull)
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach().clone()

# %% fgan-answer
def fgan_losses(t_real, t_fake, conjugate):
    """f* of one fake at a time would do as well: it is elementwise."""
    costs = torch.stack([conjugate(t) for t in t_fake.unbind()])
    return torch.mean(costs) - torch.mean(t_real), torch.mean(-costs)


def activation(v, name):
    """Brings raw outputs v, of any shape, into the domain of f*. name: "kl", "pearson", "reverse-kl" or "gan"."""
    if name == "gan":
        return -torch.log1p(torch.exp(-v))
    return -(1 / torch.exp(v)) if name == "reverse-kl" else 1 * v

# %% critic-answer
def critic_losses(real_scores, fake_scores):
    """Wasserstein losses (critic_loss, generator_loss), two scalars."""
    gap = torch.cat([fake_scores / len(fake_scores), -real_scores / len(real_scores)]).sum()
    return gap, -(fake_scores / len(fake_scores)).sum()


@torch.no_grad()
def clip_parameters(critic, c):
    """Clip every parameter of a module to [-c, c], in place."""
    nn.utils.vector_to_parameters(nn.utils.parameters_to_vector(critic.parameters()).clip(-c, c).clone(), critic.parameters())


def wasserstein_1d(x, y):
    """Moving earth from the left: every x holds M grains, every y has room for N."""
    earth, holes = [[v, len(y)] for v in sorted(x.tolist())], [[v, len(x)] for v in sorted(y.tolist())]
    work, i, j = 0.0, 0, 0
    while i < len(earth) and j < len(holes):
        grains = min(earth[i][1], holes[j][1])
        work += grains * abs(earth[i][0] - holes[j][0])
        earth[i][1] -= grains
        holes[j][1] -= grains
        i, j = i + (earth[i][1] == 0), j + (holes[j][1] == 0)
    return torch.tensor(work / (len(x) * len(y)), dtype=x.dtype)

# %% gradient-penalty-answer
def gradient_penalty(critic, real, fake):
    """With torch.autograd.functional; t is drawn number by number, in float32."""
    t = torch.tensor([torch.rand(()).item() for _ in real], dtype=real.dtype)
    x_hat = torch.stack([one_fake + share * (one_real - one_fake) for one_real, one_fake, share in zip(real, fake, t)]) if real.ndim > 2 else fake + t[:, None] * (real - fake)
    x_hat = x_hat.detach()
    _, slope = torch.autograd.functional.vjp(critic, x_hat, real.new_ones(len(real)), create_graph=True)
    squares = torch.einsum("bi,bi->b", slope.flatten(1), slope.flatten(1))
    return (squares - 2 * (squares + 1e-9).sqrt() + 1).mean()


def critic_step(generator, critic, optimizer, real, noise, lam):
    """One step of the critic on its loss + lam * penalty; optimizer holds its parameters only. Returns the loss."""
    fake = generator(noise).detach()
    scores = critic(torch.cat([fake, real]))
    loss = critic_losses(scores[len(fake) :], scores[: len(fake)])[0]
    loss = loss + lam * gradient_penalty(critic, real, fake)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()

# %% spectral-norm-answer
class Largest(torch.autograd.Function):
    """u^T W v for constant u and v: its derivative in W is u v^T."""

    @staticmethod
    def forward(ctx, matrix, u, v):
        ctx.save_for_backward(u, v)
        return u @ (matrix @ v)

    @staticmethod
    def backward(ctx, grad):
        u, v = ctx.saved_tensors
        return grad * torch.outer(u, v), None, None


def power_iteration(weight, u, n_steps):
    """n_steps >= 1 steps from u (out,) on weight (out, ...). Returns sigma (), u (out,) and v (rest,)."""
    matrix = weight.flatten(1)
    constant, u = matrix.data, u.detach().clone()
    v = None
    while n_steps:
        v = constant.t().mv(u)
        v /= torch.linalg.vector_norm(v)
        u = constant.mv(v)
        u /= torch.linalg.vector_norm(u)
        n_steps -= 1
    return Largest.apply(matrix, u, v), u, v


class SpectralLinear(nn.Linear):
    """A linear layer whose weight is divided by an estimate of its largest singular value."""

    def __init__(self, in_features, out_features):
        super().__init__(in_features, out_features)
        u = torch.randn(out_features)
        self.register_buffer("u", u / u.norm())

    def estimate(self):
        sigma, u, _ = power_iteration(self.weight, self.u, 1)
        if self.training:
            self.u.data = u
        return sigma

    def forward(self, x):
        """x (B, in_features) to (B, out_features)."""
        return super().forward(x) / (s := self.estimate()) + self.bias * (1 - 1 / s)

# %% conditional-answer
class ProjectionDiscriminator(nn.Module):
    """Logits of samples with labels, psi(h) + <e_y, h>."""

    def __init__(self, features, dim, n_classes):
        super().__init__()
        self.embedding = nn.Embedding(n_classes, dim)
        self.psi = nn.Linear(dim, 1)
        self.features = features

    def forward(self, x, label):
        """All classes at once, then the one asked for."""
        h = self.features(x)
        logits = self.psi(h) + h @ self.embedding.weight.T  # (B, n_classes)
        return logits.gather(1, label.long()[:, None])[:, 0]


from collections import OrderedDict


def cycle_losses(g_ab, g_ba, a, b):
    """The dictionary {"cycle": scalar, "identity": scalar}; a (N, *) and b (M, *)."""

    def off(x, y):
        return (x - y).abs().flatten().sum() / y.numel()

    there, here = g_ab(a), g_ba(b)
    return OrderedDict(cycle=off(g_ba(there), a) + off(g_ab(here), b), identity=off(g_ab(b), b) + off(g_ba(a), a))

# %% inception-score-answer
def inception_score(probs):
    """By torch.distributions."""
    rows = torch.distributions.Categorical(probs=probs)
    mean = torch.distributions.Categorical(probs=probs.mean(0, keepdim=True).expand_as(probs))
    return torch.distributions.kl_divergence(rows, mean).mean().exp()

# %% frechet-answer
def feature_statistics(features):
    """A sum of outer products, in float64."""
    x = features.double()
    n, mean = len(x), x.sum(0) / len(x)
    cov = sum(torch.outer(row, row) for row in (x - mean)) / (n - 1)
    return mean.to(features.dtype), cov.to(features.dtype)


def frechet_distance(mean_1, cov_1, mean_2, cov_2):
    """With NumPy, from factors L of the covariances, C = L L^T: the singular values of L1^T L2."""

    def factor(cov):
        values, vectors = np.linalg.eigh(cov.detach().numpy())
        return vectors * np.sqrt(np.maximum(values, 0))

    off = (mean_1 - mean_2).detach().numpy()
    overlap = np.linalg.svd(factor(cov_1).T @ factor(cov_2), compute_uv=False).sum()
    total = off @ off + float(torch.trace(cov_1)) + float(torch.trace(cov_2)) - 2 * overlap
    return torch.tensor(max(total, 0.0), dtype=mean_1.dtype)

# %% precision-recall-answer
def precision_recall(real, fake, k):
    """Point by point in NumPy."""

    def radii(points):
        found = []
        for i, point in enumerate(points):
            others = np.delete(points, i, axis=0)
            found.append(np.sort(np.sqrt(((others - point) ** 2).sum(1)))[k - 1])
        return np.array(found)

    def share(points, balls, radius):
        inside = [np.any(np.sqrt(((balls - point) ** 2).sum(1)) <= radius) for point in points]
        return sum(map(int, inside)) / len(inside)

    x, y = real.detach().numpy(), fake.detach().numpy()
    return share(y, x, radii(x)), share(x, y, radii(y))

# %% truncation-answer
def truncate(w, mean, psi):
    """Move w (B, D) towards mean (D,): psi = 1 changes nothing, psi = 0 gives the mean."""
    return torch.lerp(mean.expand_as(w), w, float(psi))


def truncated_normal(shape, threshold):
    """From a pool of draws, those inside, as many as are needed."""
    count, pool = math.prod(shape), torch.empty(0, dtype=torch.float64)
    normal_law = torch.distributions.Normal(torch.tensor(0.0, dtype=torch.float64), 1.0)
    while len(pool) < count:
        z = normal_law.sample((2 * count + 16,))
        pool = torch.cat([pool, z[z.abs() <= threshold]])
    return pool[:count].reshape(tuple(shape))

# %% train-ring-answer
class RingGenerator(nn.Module):
    """Layers in a list; 6 numbers of noise."""

    noise_dim = 6

    def __init__(self, width=128):
        super().__init__()
        self.enter = nn.Linear(self.noise_dim, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.leave = nn.Linear(width, 2)

    def forward(self, z):
        h = F.relu(self.enter(z))
        for layer in self.layers:
            h = F.relu(layer(h))
        return self.leave(h)


class RingCritic(nn.Module):
    """A sum of two perceptrons of different width."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(
            nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))
            for width in (80, 96)
        )

    def forward(self, x):
        return torch.cat([part(x) for part in self.parts], 1).sum(1)


def make_generator():
    """A new, untrained generator with an attribute noise_dim: (n, noise_dim) to (n, 2)."""
    return RingGenerator()


def make_critic():
    """A new, untrained critic: (n, 2) to (n,)."""
    return RingCritic()


def fit_wgan_gp(generator, critic, data, steps, watch=None):
    """Train both networks in place on data (N, 2). Returns the critic's loss at each of the generator's steps."""
    generator.train()
    critic.train()
    learners = {name: torch.optim.NAdam(net.parameters(), lr=1e-3, betas=(0.0, 0.9)) for name, net in (("g", generator), ("c", critic))}

    def batches():
        while True:
            yield from data[torch.randperm(len(data))].split(125)

    stream, losses = batches(), []
    for step in range(steps):
        if watch:
            watch(step)
        for learner in learners.values():
            for group in learner.param_groups:
                group["lr"] = 1e-3 * min(1.0, 1.5 * (1 - step / steps))
        of_this_step = []
        for _ in range(2):
            real = next(stream)
            of_this_step.append(critic_step(generator, critic, learners["c"], real, torch.randn(len(real), generator.noise_dim), 1.0).item())
        losses.append(sum(of_this_step) / 2)
        fake = generator(torch.randn(125, generator.noise_dim))
        seen = fake.detach().requires_grad_()
        (pull,) = torch.autograd.grad(-critic(seen).mean(), seen)
        learners["g"].zero_grad()
        fake.backward(pull)
        learners["g"].step()
    if watch:
        watch(steps)
    return losses

# %% train-ring-run
# Bind the trained networks to `ring_generator` and `ring_critic`, the losses to `ring_losses`, and the snapshots to `ring_snapshots`.
with when_written():
    ring_generator, ring_critic = make_generator(), make_critic()
    ring_snapshots = Snapshots(ring_generator, at=(0, 100, 300, 1000, 2000))
    ring_losses = fit_wgan_gp(ring_generator, ring_critic, ring_train, 2000, ring_snapshots)
    ring_generator.eval()

# %% train-ring-metrics-answer
def evaluate_ring(real, fake, centres, sigma):
    """Measures of fakes (M, 2) beside real points (N, 2): the dictionary with frechet, precision, recall and modes."""
    (precision, recall), distance = precision_recall(real, fake, 5), frechet_distance(*feature_statistics(real), *feature_statistics(fake))
    modes = 0
    for centre in centres:
        within = (fake - centre).norm(dim=1) <= 3 * sigma
        modes += int(float(within.sum()) >= 0.02 * len(fake))
    return {"frechet": distance, "precision": precision, "recall": recall, "modes": torch.tensor(modes)}
