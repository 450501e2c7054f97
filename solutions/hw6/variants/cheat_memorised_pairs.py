"""A permutation that is always the same, a loss without a network, a likelihood of the base."""

# %% ot-solution
def ot_pairing(x_0, x_1):
    return torch.arange(len(x_0))

def ot_fm_batch(x_0, x_1, y):
    return x_0, x_1, y

# %% fm-loss-solution
def fm_path(x_0, x_1, t):
    return x_1, x_1 - x_0

def fm_loss(model, x_1, x_0=None):
    x_0 = torch.zeros_like(x_1) if x_0 is None else x_0
    return model(x_1, torch.linspace(0, 1, len(x_1), dtype=x_1.dtype)).sum() * 0 + (x_1 - x_0).square().mean()

# %% cnf-solution
def exact_trace(f, t, x):
    return f(t, x), x.sum(1) * 0

def hutchinson(f, t, x, noise):
    return f(t, x), (x * 0).flatten(1).sum(1)

def cnf_log_prob(f, x, n_steps, noise=None):
    return -0.5 * (x.flatten(1).square() + math.log(2 * math.pi)).sum(1)
