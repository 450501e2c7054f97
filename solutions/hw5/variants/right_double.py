"""Computes in double precision inside and casts back at the end of every function."""

# %% langevin-solution
def mixture_score(x, means, stds, weights):
    y, m, s, p = (q.double() for q in (x, means, stds, weights))
    log_r = p.log() - y.size(1) * s.log() - torch.cdist(y, m).square() / (2 * s**2)
    r = torch.exp(log_r - log_r.max(1, keepdim=True).values)
    r = r / r.sum(1, keepdim=True) / s**2
    return (r @ m - r.sum(1, keepdim=True) * y).to(x.dtype)

def langevin_chain(x, score, step_size, n_steps):
    if n_steps == 0:
        return x
    with torch.no_grad():
        y = x + step_size / 2 * score(x) + torch.randn(*x.shape, dtype=torch.float64).to(x.dtype) * step_size**0.5
    return langevin_chain(y, score, step_size, n_steps - 1)

# %% schedule-solution
def abar_at(betas, t, x):
    kept = [1.0]
    for beta in betas.tolist():
        kept.append(kept[-1] * (1.0 - beta))
    values = torch.tensor([kept[i + 1] for i in t.tolist()], dtype=x.dtype)
    while values.dim() < x.dim():
        values = values.unsqueeze(-1)
    return values

def cosine_betas(n, s=0.008, largest=0.999):
    angle = (np.arange(n + 1) / n + s) / (1 + s) * np.pi / 2
    return torch.from_numpy(np.minimum(1 - np.cos(angle[1:]) ** 2 / np.cos(angle[:-1]) ** 2, largest))

def q_sample(x_0, t, betas, noise):
    kept = abar_at(betas, t, x_0.double())
    return (kept.sqrt() * x_0.double() + (1 - kept).sqrt() * noise.double()).to(x_0.dtype)

# %% ddpm-reverse-solution
def reverse_mean_variance(x_t, t, noise, betas):
    x, e = x_t.double(), noise.double()
    now, before = abar_at(betas, t, x), abar_at(betas, t - 1, x)
    keep = now / before
    variance = (1 - keep) * (1 - before) / (1 - now)
    clean = (x - (1 - now).sqrt() * e) / now.sqrt()
    mean = before.sqrt() * clean + (1 - before - variance).clamp(min=0).sqrt() * e  # the form of DDIM
    return mean.to(x_t.dtype), variance.to(x_t.dtype)

# %% ddim-solution
def ddim_sample(model, x_T, betas, steps, eta):
    x, steps = x_T, list(steps)
    while steps:
        t = torch.full((len(x),), steps.pop())
        with torch.no_grad():
            e = model(x, t).double()
        now, y = abar_at(betas, t, x.double()), x.double()
        before = abar_at(betas, torch.full_like(t, steps[-1] if steps else -1), y)
        sigma = eta * ((1 - before) / (1 - now) * (1 - now / before)).sqrt()
        clean = (y - (1 - now).sqrt() * e) / now.sqrt()
        y = before.sqrt() * clean + (1 - before - sigma**2).sqrt() * e + sigma * torch.randn_like(y)
        x = y.to(x_T.dtype)
    return x
