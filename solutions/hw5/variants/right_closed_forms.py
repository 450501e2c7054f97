"""Theory by eigenvalues, closed forms and natural parameters; NumPy where it is at hand."""

# %% theory-langevin-code-solution
def langevin_variance(sigma2, step_size, n_steps, start_variance):
    a2, rest = (1 - step_size / (2 * sigma2)) ** 2, sigma2 / (1 - step_size / (4 * sigma2))
    return rest + a2**n_steps * (start_variance - rest)

# %% theory-dsm-code-solution
def dsm_floor(cov, sigma):
    eigenvalues = np.linalg.eigvalsh(cov.numpy())
    return float(np.sum(1 / sigma**2 - 1 / (eigenvalues + sigma**2)))

# %% theory-posterior-code-solution
def posterior(x_0, x_t, abar_s, abar_t):
    if abar_s == 1:
        return x_0.clone(), 0.0
    keep = abar_t / abar_s
    precision = 1 / (1 - abar_s) + keep / (1 - keep)
    pull = abar_s**0.5 * x_0 / (1 - abar_s) + keep**0.5 * x_t / (1 - keep)
    return pull / precision, torch.tensor(1 / precision, dtype=x_0.dtype)

# %% theory-guidance-code-solution
def guided_gaussian(m_c, s_c, m_u, s_u, w):
    lam_c, lam_u = s_c**-2, s_u**-2
    lam = lam_u + w * (lam_c - lam_u)
    return (lam_u * m_u + w * (lam_c * m_c - lam_u * m_u)) / lam, math.sqrt(1 / lam)

# %% schedule-solution
def abar_at(betas, t, x):
    log_kept = F.pad(torch.log1p(-betas.double()).cumsum(0), (1, 0))
    return log_kept.index_select(0, t + 1).exp().to(x.dtype).reshape([len(t)] + [1] * (x.ndim - 1))

def cosine_betas(n, s=0.008, largest=0.999):
    def f(u):
        return math.cos(math.pi / 2 * (u + s) / (1 + s)) ** 2
    return torch.tensor([min(1 - f((t + 1) / n) / f(t / n), largest) for t in range(n)], dtype=torch.float64)

def q_sample(x_0, t, betas, noise):
    kept = abar_at(betas, t, x_0.double())
    return torch.lerp(torch.zeros_like(kept), kept.sqrt(), torch.ones_like(kept)).to(x_0.dtype) * x_0 + ((1 - kept) ** 0.5).to(x_0.dtype) * noise
