"""Computes in double precision inside and casts back, loops over draws and rows, uses SciPy for the normal law."""

# %% theory-volume-gap-solution
def volume_preserving_gap(cov):
    eigenvalues = np.linalg.eigvalsh(np.asarray(cov.double()))
    g = float(np.exp(np.mean(np.log(eigenvalues))))
    return len(eigenvalues) / 2 * (g - 1 - math.log(g))

# %% theory-gaussianise-solution
def gaussianise(x, weights, means, stds):
    normal = torch.distributions.Normal(0.0, 1.0)
    F_x, p_x = torch.zeros_like(x), torch.zeros_like(x)
    for weight, mean, std in zip(weights, means, stds):
        u = (x - mean) / std
        F_x = F_x + weight * torch.special.ndtr(u)
        p_x = p_x + weight / std * torch.exp(-u**2 / 2) / math.sqrt(2 * math.pi)
    z = torch.special.ndtri(F_x)
    return z, torch.log(p_x) - normal.log_prob(z)

# %% theory-bits-solution
def dequantised_bits(log_density, x, n_levels, n_draws=1):
    total = None
    for _ in range(n_draws):
        log_p = log_density((x + torch.rand(x.shape, dtype=torch.float64).to(x.dtype)) / n_levels)
        total = log_p if total is None else torch.logaddexp(total, log_p)
    nats = x.shape[1] * math.log(n_levels) - (total - math.log(n_draws))
    return nats / x.shape[1] / math.log(2)

# %% planar-solution
def planar_u_hat(u, w):
    v, n = u.double(), w.double()
    a = (v * n).sum()
    return (v + (F.softplus(a) - 1 - a) * n / n.norm() ** 2).to(u.dtype)

def planar_forward(x, u, w, b):
    h = x.double() @ w.double() + b.double()
    u_hat = planar_u_hat(u.double(), w.double())
    z = x.double() + u_hat * torch.tanh(h).unsqueeze(1)
    determinant = 1 + (u_hat @ w.double()) / torch.cosh(h) ** 2
    return z.to(x.dtype), torch.log(determinant.abs()).to(x.dtype)

# %% dequantise-solution
def dequantise(x, n_levels):
    y = x if x.dtype.is_floating_point else x.to(torch.float32)
    return y / n_levels + torch.rand(y.shape, dtype=y.dtype) / n_levels

def logit_forward(y, alpha=0.05):
    s = y.double() * (1 - 2 * alpha) + alpha
    logdet = torch.log((1 - 2 * alpha) / (s * (1 - s)))
    return torch.logit(s).to(y.dtype), logdet.reshape(len(y), -1).sum(1).to(y.dtype)

def logit_inverse(z, alpha=0.05):
    s = 1 / (1 + torch.exp(-z.double()))
    logdet = torch.log(s) + F.logsigmoid(-z.double()) - math.log1p(-2 * alpha)
    return ((s - alpha) / (1 - 2 * alpha)).to(z.dtype), logdet.reshape(len(z), -1).sum(1).to(z.dtype)
