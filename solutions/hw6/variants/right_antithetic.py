"""Times in antithetic pairs, the path as a step along the line, sums in place of means."""

# %% fm-loss-solution
def fm_path(x_0, x_1, t):
    along = x_1 - x_0
    return x_0 + along * t.view(-1, *[1] * (x_1.dim() - 1)), along


def fm_loss(model, x_1, x_0=None):
    half = torch.rand((len(x_1) + 1) // 2, dtype=x_1.dtype)
    t = torch.cat([half, 1 - half])[: len(x_1)][torch.randperm(len(x_1))]
    noise = torch.randn(x_1.shape, dtype=x_1.dtype) if x_0 is None else x_0
    x_t, target = fm_path(noise, x_1, t)
    return ((model(x_t, t) - target) ** 2).sum() / x_1.numel()

# %% fm-sample-solution
def fm_sample(model, x_0, n_steps):
    x = x_0.detach()
    for i in range(n_steps):
        with torch.no_grad():
            x = torch.add(x, model(x, x.new_full((len(x),), i / n_steps)), alpha=1 / n_steps)
    return x


def velocity_to_score(v, x, t):
    t = torch.as_tensor(t, dtype=x.dtype).expand(len(x)).reshape(-1, *[1] * (x.dim() - 1))
    return (t * v - x) / (1 - t)


def score_to_velocity(s, x, t):
    t = torch.as_tensor(t, dtype=x.dtype).expand(len(x)).reshape(-1, *[1] * (x.dim() - 1))
    return x / t + s * (1 - t) / t

# %% theory-velocity-code-solution
def gaussian_velocity(x, t, mean, std):
    t = (torch.zeros(len(x), dtype=x.dtype) + t).unsqueeze(1)
    weight = 1 / (t**2 * std**2 + (1 - t) ** 2)
    data = mean + t * std**2 * weight * (x - t * mean)
    noise = (1 - t) * weight * (x - t * mean)
    return data - noise
