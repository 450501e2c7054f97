"""Traces by forward-mode products of unit vectors; the probability flow and its likelihood written out."""

# %% cnf-solution
def exact_trace(f, t, x):
    total = 0.0
    for i in range(x.shape[-1]):
        unit = torch.zeros_like(x)
        unit[..., i] = 1
        value, column_i = torch.func.jvp(lambda y: f(t, y), (x,), (unit,))
        total = total + column_i[..., i]
    return value, total


def hutchinson(f, t, x, noise):
    with torch.enable_grad():
        leaf = x if x.requires_grad else x.clone().requires_grad_(True)
        v = f(t, leaf)
        (product,) = torch.autograd.grad((v * noise).sum(), leaf, create_graph=True)
    return v, (product * noise).reshape(len(x), -1).sum(-1)


def cnf_log_prob(f, x, n_steps, noise=None):
    shape, D = x.shape, x[0].numel()

    def both(t, state):
        point = state[:, :D].reshape(shape)
        v, d = exact_trace(f, t, point) if noise is None else hutchinson(f, t, point, noise)
        return torch.hstack([v.reshape(len(x), D), d.unsqueeze(1)])

    end = rk4(both, torch.hstack([x.reshape(len(x), D), torch.zeros(len(x), 1, dtype=x.dtype)]), 1.0, 0.0, n_steps)
    return -0.5 * end[:, :D].pow(2).sum(1) - 0.5 * D * math.log(2 * math.pi) + end[:, D]

# %% probability-flow-solution
def probability_flow(score, beta_min, beta_max):
    class Flow(nn.Module):
        def forward(self, t, x):
            t = float(t)
            beta = beta_min * (1 - t) + beta_max * t
            return -0.5 * beta * x - 0.5 * beta * score(x, torch.full(x.shape[:1], t, dtype=x.dtype))

    return Flow()


def pf_log_prob(score, x, beta_min, beta_max, n_steps, base_log_prob):
    flow, x, total, h = probability_flow(score, beta_min, beta_max), x.detach().clone(), 0.0, 1 / n_steps
    for i in range(n_steps):
        k, d = [], []
        for ahead in (0.0, 0.5, 0.5, 1.0):
            v, trace = exact_trace(flow, (i + ahead) * h, x + ahead * h * k[-1] if k else x)
            k.append(v.detach())
            d.append(trace.detach())
        x = x + h / 6 * (k[0] + 2 * k[1] + 2 * k[2] + k[3])
        total = total + h / 6 * (d[0] + 2 * d[1] + 2 * d[2] + d[3])
    return base_log_prob(x) + total
