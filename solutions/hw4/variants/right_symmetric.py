"""Fréchet by singular values, neighbours by topk, an ε in the logarithm of the score, spectral norm as the length of Wv."""

# %% theory-bias-answer
def frechet_bias(dims, n, m):
    inverse = 1 / n + 1 / m
    return inverse * dims * (1 + (dims + 1) / 4)

# %% theory-penalty-answer
def penalised_critic(theta, lam):
    theta = torch.tensor(theta, dtype=torch.float64)
    return 1 + theta / lam / 2, theta + theta**2 / lam / 2, theta + theta**2 / lam / 4

# %% spectral-norm-answer
def power_iteration(weight, u, n_steps):
    with torch.no_grad():
        W = weight.reshape(len(weight), -1)
        for _ in range(n_steps):
            v = u @ W
            v = v / torch.linalg.vector_norm(v)
            length = torch.linalg.vector_norm(W @ v)
            u = W @ v / length
    return (torch.outer(u, v) * weight.reshape(len(weight), -1)).sum(), u, v

class SpectralLinear(nn.Linear):
    def __init__(self, in_features, out_features):
        super().__init__(in_features, out_features)
        self.register_buffer("u", torch.eye(out_features)[0] + 0.1)
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x):
        if self.training:
            sigma, u, _ = power_iteration(self.weight, self.u, 1)
            self.u.data = u.detach().clone()
            self.calls += 1
        else:
            v = F.normalize(self.weight.t() @ self.u, dim=0)
            sigma = (self.weight @ v).norm()
        return F.linear(x / sigma, self.weight) + self.bias

# %% conditional-answer
class ProjectionDiscriminator(nn.Module):
    def __init__(self, features, dim, n_classes):
        super().__init__()
        self.embedding, self.psi, self.features = nn.Embedding(n_classes, dim), nn.Linear(dim, 1), features

    def forward(self, x, label):
        h = self.features(x)
        scores = h @ self.embedding.weight.t()  # (B, n_classes)
        return self.psi(h)[:, 0] + scores.gather(1, label[:, None])[:, 0]

def cycle_losses(g_ab, g_ba, a, b):
    there, back = g_ab(a), g_ba(b)
    losses = {"cycle": F.l1_loss(g_ba(there), a) + F.l1_loss(g_ab(back), b)}
    losses["identity"] = F.l1_loss(g_ab(b), b) + F.l1_loss(g_ba(a), a)
    losses["total"] = losses["cycle"] + losses["identity"]
    return losses

# %% inception-score-answer
def inception_score(probs):
    entropy = lambda q: -(q * (q + 1e-7).log()).sum(-1)
    return torch.exp(entropy(probs.mean(0)) - entropy(probs).mean())

# %% frechet-answer
def feature_statistics(features):
    cov = torch.cov(features.T).reshape(features.shape[1], features.shape[1])
    return features.mean(0), cov

def frechet_distance(mean_1, cov_1, mean_2, cov_2):
    def root(C):
        U, S, _ = torch.linalg.svd(C)
        return U * S.sqrt()
    nuclear = torch.linalg.matrix_norm(root(cov_1).T @ root(cov_2), "nuc")
    return torch.dot(mean_1 - mean_2, mean_1 - mean_2) + cov_1.diagonal().sum() + cov_2.diagonal().sum() - 2 * nuclear

# %% precision-recall-answer
def precision_recall(real, fake, k):
    dist = lambda a, b: (a[:, None] - b[None]).pow(2).sum(-1)
    def radii(x):
        d = dist(x, x)
        d[range(len(x)), range(len(x))] = -1.0
        return d.topk(k + 1, largest=False).values[:, -1]
    across = dist(real, fake)
    precision = (across <= radii(real)[:, None]).any(0).float().mean()
    return precision, (across <= radii(fake)[None]).any(1).float().mean()

# %% truncation-answer
def truncate(w, mean, psi):
    return psi * w + (1 - psi) * mean

def truncated_normal(shape, threshold):
    count = math.prod(shape)
    kept = torch.empty(0)
    while len(kept) < count:
        z = torch.randn(2 * count + 10)
        kept = torch.cat([kept, z[z.abs() <= threshold]])
    return kept[:count].reshape(shape)
