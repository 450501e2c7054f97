"""Antithetic and stratified times, labels in one joint batch in the other order, samplers that switch modes and back."""

# %% ddpm-loss-solution
def ddpm_loss(model, x_0, betas):
    B, T = x_0.size(0), betas.size(0)
    half = torch.randint(0, T, (B - B // 2,))
    t = torch.cat([half, T - 1 - half])[:B]
    eps = torch.empty_like(x_0).normal_()
    out = model(q_sample(x_0, t, betas, eps), t)
    return (out - eps).pow(2).sum() / out.numel()

# %% ncsn-solution
def ncsn_loss(model, x, sigmas):
    levels = torch.tensor(sigmas, dtype=x.dtype)
    index = torch.cat([pick := torch.randint(0, len(levels), ((len(x) + 1) // 2,)), len(levels) - 1 - pick])[: len(x)]
    sigma = levels[index]
    eps = torch.randn(x.shape, dtype=x.dtype)
    wide = sigma[(...,) + (None,) * (x.ndim - 1)]
    residual = wide * model(x + eps * wide, sigma) + eps
    return residual.square().sum() / len(x)

def annealed_langevin(model, x, sigmas, n_steps, eps):
    was = getattr(model, "training", None)
    if was is not None:
        model.eval()
    with torch.no_grad():
        for sigma in sorted(sigmas, reverse=True):
            alpha = eps * sigma * sigma / sigmas[-1] / sigmas[-1]
            for _ in range(n_steps):
                drift = alpha / 2 * model(x, sigma * torch.ones(len(x), dtype=x.dtype))
                x = x + drift + alpha**0.5 * torch.randn(x.shape, dtype=x.dtype)
    if was is not None:
        model.train(was)
    return x

# %% ddpm-sample-solution
def ddpm_sample(model, x_T, betas):
    was = model.training if isinstance(model, nn.Module) else None
    if was is not None:
        model.eval()
    x = x_T.clone()
    for k in range(len(betas) - 1, -1, -1):
        t = torch.full((x.shape[0],), k, dtype=torch.long)
        with torch.no_grad():
            mean, variance = reverse_mean_variance(x, t, model(x, t), betas)
            x = mean + (variance.sqrt() * torch.randn_like(x) if k > 0 else 0)
    if was is not None:
        model.train(was)
    return x

# %% cfg-solution
def cfg_loss(model, x_0, y, betas, n_classes, p):
    shown = y.clone()
    shown[torch.rand(y.shape) < p] = n_classes
    return ddpm_loss(lambda x, t: model(x, t, shown), x_0, betas)

def guided_noise(model, x, t, y, n_classes, w):
    labels = torch.stack([y, torch.full_like(y, n_classes)], 1).flatten()  # pairs, side by side
    out = model(x.repeat_interleave(2, 0), t.repeat_interleave(2), labels).unflatten(0, (-1, 2))
    return torch.lerp(out[:, 1], out[:, 0], w)

def cfg_sample(model, x_T, y, betas, n_classes, w):
    was = model.training
    model.eval()
    out = ddpm_sample(lambda x, t: guided_noise(model, x, t, y, n_classes, w).detach(), x_T, betas)
    model.train(was)
    return out
