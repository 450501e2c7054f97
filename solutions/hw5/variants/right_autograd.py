"""Lets automatic differentiation do the work: the score of a log-density, a Jacobian product, `torch.func`."""

# %% langevin-solution
def mixture_score(x, means, stds, weights):
    with torch.enable_grad():
        leaf = x.detach().clone().requires_grad_(True)
        square = torch.stack([(leaf - m).pow(2).sum(-1) for m in means], -1)
        log_p = torch.logsumexp(torch.log(weights) - x.shape[1] * torch.log(stds) - 0.5 * square / stds**2, -1)
        return torch.autograd.grad(log_p.sum(), leaf)[0]

def langevin_chain(x, score, step_size, n_steps):
    noise = torch.randn(n_steps, *x.shape, dtype=x.dtype)
    x = x.detach().clone()
    for z in noise:
        with torch.inference_mode():
            x = x + 0.5 * step_size * score(x) + step_size**0.5 * z
    return x.clone()

# %% ebm-solution
def contrastive_loss(energy, data, samples, reg=0.0):
    both = energy(torch.cat([data, samples.detach()]))
    real, fake = both[: len(data)], both[len(data) :]
    return real.mean() - fake.mean() + reg * ((real**2).mean() + (fake**2).mean())

def negative_samples(energy, x, step_size, n_steps):
    x = x.detach().clone()
    with torch.enable_grad():
        for _ in range(n_steps):
            x.requires_grad_(True)
            slope = torch.autograd.grad(energy(x).sum(), [x])[0]
            x = (x - 0.5 * step_size * slope + torch.randn(x.shape, dtype=x.dtype) * step_size**0.5).detach()
    return x

# %% dsm-solution
def dsm_loss(score, x, sigma, noise):
    residual = (sigma * score(x + sigma * noise) + noise).reshape(len(x), -1)
    return (residual.norm(dim=1) ** 2).mean() / sigma**2

def sliced_loss(score, x, v):
    s, Jv = torch.func.jvp(score, (x,), (v,))
    dot = lambda a, b: torch.einsum("bd,bd->b", a.reshape(len(a), -1), b.reshape(len(b), -1))
    return dot(v, Jv).mean() + 0.5 * dot(v, s).pow(2).mean()

# %% ncsn-solution
def ncsn_loss(model, x, sigmas):
    B = x.shape[0]
    order = torch.randperm(B) % len(sigmas)  # every level as often, in a drawn order
    sigma = torch.as_tensor(sigmas, dtype=torch.float64)[order].to(x.dtype)
    scale = sigma.reshape([B] + [1] * (x.dim() - 1))
    noisy = torch.distributions.Normal(x, scale.expand_as(x)).sample()
    target = (x - noisy) / scale**2
    return (scale * (model(noisy, sigma) - target)).pow(2).reshape(B, -1).sum(1).mean()

def annealed_langevin(model, x, sigmas, n_steps, eps):
    for sigma, _ in itertools.product(sigmas, range(n_steps)):
        alpha = eps * (sigma / min(sigmas)) ** 2
        with torch.no_grad():
            x = x + 0.5 * alpha * model(x, x.new_full((x.shape[0],), sigma)) + alpha**0.5 * torch.randn_like(x)
    return x.detach().clone()
