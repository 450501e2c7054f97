"""NumPy and SciPy wherever they have it."""

# %% theory-discriminator-answer
from scipy import linalg, special, stats

def optimal_discriminator(p, q, prior):
    real, fake = prior * np.asarray(p), (1 - prior) * np.asarray(q)
    d = real / (real + fake)
    return torch.from_numpy(d), float(special.xlogy(real, d).sum() + special.xlog1py(fake, -d).sum())

# %% critic-answer
def critic_losses(real_scores, fake_scores):
    critic_loss = fake_scores.mean() - real_scores.mean()
    return critic_loss, fake_scores.mean() * -1

def clip_parameters(critic, c):
    with torch.no_grad():
        for p in critic.parameters():
            p.copy_(torch.clamp(p, -c, c))

def wasserstein_1d(x, y):
    return torch.tensor(stats.wasserstein_distance(x.numpy(), y.numpy()), dtype=torch.float64)

# %% spectral-norm-answer
def power_iteration(weight, u, n_steps):
    W = weight.reshape(weight.shape[0], -1)
    for _ in range(n_steps):
        v = torch.mv(W.t(), u).detach()
        v = v / v.norm()
        u = torch.mv(W, v).detach()
        u = u / u.norm()
    return torch.dot(u, torch.mv(W, v)), u, v

class SpectralLinear(nn.Linear):
    def __init__(self, in_features, out_features):
        super().__init__(in_features, out_features)
        self.register_buffer("u", F.normalize(torch.randn(out_features), dim=0))

    def forward(self, x):
        sigma, new, _ = power_iteration(self.weight, self.u, 1)
        if self.training:
            self.u = new
        return (x @ self.weight.t()) / sigma + self.bias

# %% inception-score-answer
def inception_score(probs):
    p = probs.numpy()
    return float(np.exp(special.rel_entr(p, p.mean(0, keepdims=True)).sum(1).mean()))

# %% frechet-answer
def feature_statistics(features):
    x = features.numpy()
    return torch.from_numpy(x.mean(0)), torch.from_numpy(np.atleast_2d(np.cov(x, rowvar=False)))

def frechet_distance(mean_1, cov_1, mean_2, cov_2):
    eigenvalues = np.linalg.eigvals((cov_1 @ cov_2).numpy())
    cross = np.sqrt(np.clip(eigenvalues.real, 0, None)).sum()
    return float(((mean_1 - mean_2) ** 2).sum() + torch.trace(cov_1 + cov_2)) - 2 * cross

# %% precision-recall-answer
def precision_recall(real, fake, k):
    def inside(points, centres):
        hits = np.zeros(len(points), dtype=bool)
        for i, centre in enumerate(centres.numpy()):
            others = np.delete(centres.numpy(), i, axis=0)
            radius = np.sort(np.sqrt(((others - centre) ** 2).sum(1)))[k - 1]
            hits |= np.sqrt(((points.numpy() - centre) ** 2).sum(1)) <= radius
        return hits.mean()
    return float(inside(fake, real)), float(inside(real, fake))

# %% truncation-answer
def truncate(w, mean, psi):
    return torch.lerp(mean.expand_as(w), w, psi)

def truncated_normal(shape, threshold):
    low = special.ndtr(-threshold)
    u = low + (1 - 2 * low) * torch.rand(shape, dtype=torch.float64)
    return torch.special.ndtri(u).clamp(-threshold, threshold)

# %% train-ring-metrics-answer
def evaluate_ring(real, fake, centres, sigma):
    stats_of = [feature_statistics(x) for x in (real, fake)]
    precision, recall = precision_recall(real, fake, 5)
    modes = 0
    for centre in centres:
        modes += int(((fake - centre).norm(dim=1) <= 3 * sigma).sum() >= 0.02 * len(fake))
    return dict(modes=modes, recall=recall, precision=precision, frechet=frechet_distance(*stats_of[0], *stats_of[1]))
