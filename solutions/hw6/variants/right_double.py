"""Computes in double precision inside and casts back; rows one by one where that is easier to read."""

# %% theory-change-code-solution
def vp_to_flow(t, beta_min, beta_max):
    if not isinstance(t, torch.Tensor):
        B = beta_min * t + (beta_max - beta_min) * t * t / 2
        alpha = math.exp(-B / 2)
        scale = 1 / (alpha + math.sqrt(1 - alpha * alpha))
        return alpha * scale, scale
    pairs = [vp_to_flow(float(one), beta_min, beta_max) for one in t]
    tau, scale = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    return tau.to(t.dtype), scale.to(t.dtype)


def noise_to_velocity(eps, y, tau):
    taus = [float(tau)] * len(y) if not isinstance(tau, torch.Tensor) or tau.dim() == 0 else tau.tolist()
    return torch.stack([(b.double() - a.double()) / s for a, b, s in zip(eps, y, taus)]).to(y.dtype)

# %% fm-loss-solution
def fm_path(x_0, x_1, t):
    rows = [(1 - s) * a + s * b for a, b, s in zip(x_0, x_1, t)]
    return torch.stack(rows), torch.stack([b - a for a, b in zip(x_0, x_1)])


def fm_loss(model, x_1, x_0=None):
    x_0 = torch.empty_like(x_1).normal_() if x_0 is None else x_0
    t = torch.empty(len(x_1), dtype=x_1.dtype).uniform_()
    wide = t.reshape([-1] + [1] * (x_1.dim() - 1))
    prediction = model(torch.lerp(x_0, x_1, wide.expand_as(x_1)), t)
    return F.mse_loss(prediction, x_1 - x_0)

# %% fm-sample-solution
def fm_sample(model, x_0, n_steps):
    x = x_0.double()
    with torch.no_grad():
        for i in range(n_steps):
            v = model(x.to(x_0.dtype), torch.full((len(x),), i / n_steps, dtype=x_0.dtype))
            x = x + v.double() / n_steps
    return x.to(x_0.dtype)


def velocity_to_score(v, x, t):
    t = column(t, x.double())
    return (-(x.double() - t * v.double()) / (1 - t)).to(x.dtype)


def score_to_velocity(s, x, t):
    t = column(t, x.double())
    return ((x.double() + (1 - t) * s.double()) / t).to(x.dtype)
