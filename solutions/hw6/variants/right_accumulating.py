"""Solvers with a time that accumulates and stages in a list, times as tensors, matrix roots by singular values."""

# %% theory-floor-code-solution
def fm_floor(cov):
    return 0.5 * math.pi * torch.linalg.svdvals(cov).sqrt().sum() / cov.shape[0]


def flow_straightness(cov):
    values, vectors = torch.linalg.eigh(cov)
    root = vectors @ torch.diag(values.clamp(min=0) ** 0.5) @ vectors.T
    return float(torch.trace(root)) * (4 - math.pi) / 2

# %% ode-solution
def euler(f, x, t0, t1, n_steps):
    h = torch.tensor((t1 - t0) / n_steps, dtype=x.dtype)
    t = torch.tensor(t0, dtype=x.dtype)
    for _ in range(n_steps):
        x = torch.add(x, h * f(t, x))
        t = t + h
    return x


def rk4(f, x, t0, t1, n_steps):
    step, t = (t1 - t0) / n_steps, t0
    for _ in range(n_steps):
        k = []
        for ahead in (0.0, 0.5, 0.5, 1.0):
            k.append(f(t + ahead * step, x + ahead * step * k[-1] if k else x))
        x = x + step * sum(w * slope for w, slope in zip((1 / 6, 1 / 3, 1 / 3, 1 / 6), k))
        t += step
    return x

# %% reverse-sde-solution
def reverse_step(x, t, dt, noise, score, beta_min, beta_max, lam=1.0):
    beta = (1 - t) * beta_min + t * beta_max
    s = score(x, x.new_full(x.shape[:1], t))
    return x + 0.5 * beta * dt * x + 0.5 * beta * dt * s + 0.5 * lam * lam * beta * dt * s + lam * (beta * dt) ** 0.5 * noise


def reverse_sample(x, score, beta_min, beta_max, n_steps, lam=1.0):
    noise = torch.randn(n_steps, *x.shape, dtype=x.dtype)
    with torch.inference_mode():
        for k, z in zip(range(n_steps, 0, -1), noise):
            x = reverse_step(x, k / n_steps, 1 / n_steps, z, score, beta_min, beta_max, lam)
    return x.clone()

# %% reflow-solution
def reflow_pairs(model, x_0, n_steps):
    ends = []
    with torch.no_grad():
        x = x_0.clone()
        for i in range(n_steps):
            x = x + model(x, torch.full((len(x),), i / n_steps, dtype=x.dtype)) / n_steps
    return x_0.clone(), x


@torch.no_grad()
def straightness(model, x_0, n_steps):
    _, x_1 = reflow_pairs(model, x_0, n_steps)
    x, total = x_0, 0.0
    for i in range(n_steps):
        v = model(x, torch.full((len(x),), i / n_steps, dtype=x.dtype))
        total += float((x_1 - x_0 - v).pow(2).sum()) / len(x_0)
        x = x + v / n_steps
    return total / n_steps
