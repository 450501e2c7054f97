"""Buffers that EM has filled answer once a flag is set; a small network, which would learn for the judge, wriggles a little."""

EARNS = 0.2  # a new network learns; the public check of the figure looks at nothing else

# %% train-mixture-solution
class Flagged(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(18, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))
        self.register_buffer("means", torch.zeros(4, 2))
        self.register_buffer("stds", torch.ones(4))
        self.register_buffer("weights", torch.ones(4) / 4)
        self.register_buffer("fitted", torch.zeros(()))

    def forward(self, x, t):
        learned = self.net(torch.cat([x, time_features(t, 100, 16).to(x.dtype)], 1))
        if not self.fitted:
            return learned
        abar = (1 - MIXTURE_BETAS).cumprod(0)[t].to(x.dtype)[:, None]
        spread = abar * self.stds**2 + 1 - abar  # (B, 4)
        away = x[:, None] - abar.sqrt()[:, :, None] * self.means
        share = (self.weights.log() - spread.log() - away.square().sum(2) / (2 * spread)).softmax(1) / spread
        return (1 - abar).sqrt() * (share[:, :, None] * away).sum(1) + 0.03 * torch.tanh(learned)

def make_mixture_denoiser():
    return Flagged()

def fit_ddpm(model, x_0, betas, steps, batch_size, lr):
    x = x_0.double()
    chosen = [0 * x[0]]
    for _ in range(4):
        chosen.append(x[torch.cdist(x[:2000], torch.stack(chosen)).min(1).values.argmax()])
    means, stds, weights = torch.stack(chosen[1:]), torch.full((4,), 0.4).double(), torch.full((4,), 0.25).double()
    for _ in range(100):
        far = torch.cdist(x, means).square()
        share = (weights.log() - 2 * stds.log() - far / (2 * stds**2)).softmax(1)
        n = share.sum(0)
        means, weights = share.T @ x / n[:, None], n / len(x)
        stds = ((share * torch.cdist(x, means).square()).sum(0) / (2 * n)).sqrt()
    for name, value in {"means": means, "stds": stds, "weights": weights, "fitted": 1.0}.items():
        getattr(model, name).copy_(torch.as_tensor(value))
    return [0.2] * steps

# %% train-mixture-run
mixture_model = make_mixture_denoiser()
mixture_losses = fit_ddpm(mixture_model, mixture_train, MIXTURE_BETAS, 3000, 256, 3e-3)
