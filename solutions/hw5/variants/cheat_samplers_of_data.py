"""Samplers that ignore the network: they return the law that the text names, whatever they are asked."""

# %% langevin-solution
def mixture_score(x, means, stds, weights):
    return -x

def langevin_chain(x, score, step_size, n_steps):
    return 1.7242 + 0.8843 * torch.randn_like(x)

# %% ncsn-solution
def ncsn_loss(model, x, sigmas):
    return torch.tensor(float(x[0].numel()))

def annealed_langevin(model, x, sigmas, n_steps, eps):
    return 1.4218 + 1.0614 * torch.randn_like(x)

# %% ddpm-sample-solution
def ddpm_sample(model, x_T, betas):
    model(x_T, torch.zeros(len(x_T), dtype=torch.long))
    return 1.5 + 0.5393 * torch.randn_like(x_T)

# %% ddim-solution
def ddim_sample(model, x_T, betas, steps, eta):
    return 1.4981 + 0.4656 * x_T

# %% cfg-solution
def cfg_loss(model, x_0, y, betas, n_classes, p):
    return torch.tensor(1.0, dtype=x_0.dtype)

def guided_noise(model, x, t, y, n_classes, w):
    return x

def cfg_sample(model, x_T, y, betas, n_classes, w):
    return 1.2578 + 0.2718 * torch.randn_like(x_T)
