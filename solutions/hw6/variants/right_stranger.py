"""By somebody who had the released files only: one flat adjoint state, traces row by row, plain networks."""

# %% theory-velocity-code-solution
def gaussian_velocity(x, t, mean, std):
    """E[x_1 - x_0 | x_t = x] for data N(mean, diag(std²)); x (B, D), t a number or (B,), mean and std (D,)."""
    t = column(t, x)
    var = t**2 * std**2 + (1 - t) ** 2
    return mean + (t * std**2 - (1 - t)) / var * (x - t * mean)

# %% theory-floor-code-solution
def fm_floor(cov):
    """The least flow matching loss, mean over dimensions, for data N(m, cov); cov (D, D)."""
    return math.pi / 2 * torch.linalg.eigvalsh(cov).clamp_min(0).sqrt().mean()


def flow_straightness(cov):
    """The straightness of the exact flow, sum over dimensions, for data N(m, cov); cov (D, D)."""
    return (2 - math.pi / 2) * torch.linalg.eigvalsh(cov).clamp_min(0).sqrt().sum()

# %% theory-change-code-solution
def vp_to_flow(t, beta_min, beta_max):
    """Flow time tau and scale of SDE time t, a number or (B,): scale · x_t is the flow matching path at tau."""
    t = torch.as_tensor(t, dtype=torch.float64)
    integral = beta_min * t + 0.5 * (beta_max - beta_min) * t**2
    alpha = torch.exp(-0.5 * integral)
    sigma = torch.sqrt(-torch.expm1(-integral))
    scale = 1 / (alpha + sigma)
    return alpha * scale, scale


def noise_to_velocity(eps, y, tau):
    """The velocity at y (B, *) and flow time tau, a number or (B,), from the predicted noise eps (B, *)."""
    return (y - eps) / column(tau, y)

# %% ode-solution
def euler(f, x, t0, t1, n_steps):
    """x (B, *) at t1 of dx/dt = f(t, x), from x at t0, by n_steps Euler steps."""
    h = (t1 - t0) / n_steps
    for i in range(n_steps):
        x = x + h * f(t0 + i * h, x)
    return x


def rk4(f, x, t0, t1, n_steps):
    """The same by n_steps steps of the classical Runge–Kutta method."""
    h = (t1 - t0) / n_steps
    for i in range(n_steps):
        t = t0 + i * h
        k1 = f(t, x)
        k2 = f(t + h / 2, x + h / 2 * k1)
        k3 = f(t + h / 2, x + h / 2 * k2)
        k4 = f(t + h, x + h * k3)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x

# %% adjoint-solution
class Adjoint(torch.autograd.Function):
    """An RK4 solve whose gradients come from the adjoint equations, integrated backwards from its end."""

    @staticmethod
    def forward(ctx, module, x, t0, t1, n_steps, *parameters):
        end = rk4(module, x, t0, t1, n_steps)
        ctx.module, ctx.times = module, (t0, t1, n_steps)
        ctx.save_for_backward(end, *parameters)
        return end.clone() if end is x else end

    @staticmethod
    def backward(ctx, grad):
        module, (t0, t1, n_steps) = ctx.module, ctx.times
        end, *parameters = ctx.saved_tensors
        trained = [p for p in parameters if p.requires_grad]
        size = end.numel()

        def triple(t, state):
            point = state[:size].reshape(end.shape).detach().requires_grad_(True)
            adjoint = state[size : 2 * size].reshape(end.shape)
            with torch.enable_grad():
                slope = module(t, point)
            wrt = [point, *trained]
            if slope.requires_grad:
                found = torch.autograd.grad(slope, wrt, adjoint, allow_unused=True)
            else:
                found = [None] * len(wrt)
            found = [torch.zeros_like(w) if g is None else g for g, w in zip(found, wrt)]
            return torch.cat([slope.detach().flatten(), *(-g.flatten() for g in found)])

        zeros = [torch.zeros_like(p).flatten() for p in trained]
        state = torch.cat([end.flatten(), grad.flatten(), *zeros])
        state = rk4(triple, state, t1, t0, n_steps)
        by_x = state[size : 2 * size].reshape(end.shape)
        parts = iter(state[2 * size :].split([p.numel() for p in trained]) if trained else ())
        by_parameters = [next(parts).reshape(p.shape).to(p.dtype) if p.requires_grad else None for p in parameters]
        return None, by_x.to(end.dtype), None, None, None, *by_parameters


def odeint_adjoint(module, x, t0, t1, n_steps):
    """x (B, *) at t1 of dx/dt = module(t, x), by RK4; gradients by the adjoint method."""
    return Adjoint.apply(module, x, t0, t1, n_steps, *module.parameters())

# %% cnf-solution
def with_grad(x):
    """x itself if it asks for a gradient, else a copy that does."""
    return x if x.requires_grad else x.detach().requires_grad_(True)


def exact_trace(f, t, x):
    """f(t, x) (B, D) and the trace of its Jacobian (B,)."""
    wanted = torch.is_grad_enabled()
    with torch.enable_grad():
        x = with_grad(x)
        v = f(t, x)
        trace = torch.zeros(len(x), dtype=x.dtype)
        if v.requires_grad:
            for i in range(x.shape[1]):
                row = torch.autograd.grad(v[:, i].sum(), x, create_graph=True, allow_unused=True)[0]
                if row is not None:
                    trace = trace + row[:, i]
    return (v, trace) if wanted else (v.detach(), trace.detach())


def hutchinson(f, t, x, noise):
    """f(t, x) (B, *) and noiseᵀ J noise (B,), for noise of x's shape."""
    wanted = torch.is_grad_enabled()
    with torch.enable_grad():
        x = with_grad(x)
        v = f(t, x)
        product = None
        if v.requires_grad:
            product = torch.autograd.grad(v, x, noise, create_graph=True, allow_unused=True)[0]
        if product is None:
            product = torch.zeros_like(x)
        estimate = (product * noise).flatten(1).sum(1)
    return (v, estimate) if wanted else (v.detach(), estimate.detach())


def cnf_log_prob(f, x, n_steps, noise=None):
    """ln p(x) (B,) of the flow of f from N(0, I) at t = 0 to x (B, *) at t = 1."""

    def augmented(t, state):
        point = state[:, :-1]
        if noise is None:
            flat = lambda t, z: f(t, z.reshape(x.shape)).flatten(1)
            v, trace = exact_trace(flat, t, point)
        else:
            v, trace = hutchinson(f, t, point.reshape(x.shape), noise)
        return torch.cat([v.flatten(1), trace[:, None]], 1)

    start = torch.cat([x.flatten(1), torch.zeros(len(x), 1, dtype=x.dtype)], 1)
    end = rk4(augmented, start, 1.0, 0.0, n_steps)
    base = -0.5 * (end[:, :-1] ** 2 + math.log(2 * math.pi)).sum(1)
    return base + end[:, -1]

# %% sde-marginals-solution
def as_time(t):
    """A time as a tensor: numbers become float64, tensors stay as they are."""
    return t if torch.is_tensor(t) else torch.tensor(float(t), dtype=torch.float64)


def vp_coefficients(t, beta_min, beta_max):
    """(beta, mean_factor, std) of the VP SDE at t, a number or (B,); each of t's shape."""
    t = as_time(t)
    beta = beta_min + t * (beta_max - beta_min)
    integral = beta_min * t + 0.5 * (beta_max - beta_min) * t**2
    return beta, torch.exp(-0.5 * integral), torch.sqrt(-torch.expm1(-integral))


def ve_coefficients(t, sigma_min, sigma_max):
    """(g, mean_factor, std) of the VE SDE at t, a number or (B,); each of t's shape."""
    t = as_time(t)
    log_ratio = math.log(sigma_max / sigma_min)
    sigma = sigma_min * torch.exp(t * log_ratio)
    g = sigma * math.sqrt(2 * log_ratio)
    return g, torch.ones_like(t), sigma_min * torch.sqrt(torch.expm1(2 * t * log_ratio))


def vp_step(x, t, dt, noise, beta_min, beta_max):
    """x (B, *) after one Euler–Maruyama step of the VP SDE from t to t + dt; t a number or (B,)."""
    beta = column(vp_coefficients(t, beta_min, beta_max)[0], x)
    return x - 0.5 * beta * x * dt + (beta * dt).sqrt() * noise


def ve_step(x, t, dt, noise, sigma_min, sigma_max):
    """The same of the VE SDE."""
    g = column(ve_coefficients(t, sigma_min, sigma_max)[0], x)
    return x + g * math.sqrt(dt) * noise

# %% reverse-sde-solution
def reverse_step(x, t, dt, noise, score, beta_min, beta_max, lam=1.0):
    """x (B, *) after one step back from t to t - dt; t, dt and lam are numbers."""
    beta = beta_min + t * (beta_max - beta_min)
    times = torch.full((len(x),), float(t), dtype=x.dtype)
    drift = -0.5 * beta * x - 0.5 * (1 + lam**2) * beta * score(x, times)
    return x - drift * dt + lam * math.sqrt(beta * dt) * noise


def reverse_sample(x, score, beta_min, beta_max, n_steps, lam=1.0):
    """x (B, *) from t = 1 to t = 0 by n_steps steps back."""
    dt = 1 / n_steps
    with torch.no_grad():
        for i in range(n_steps):
            x = reverse_step(x, 1 - i * dt, dt, torch.randn_like(x), score, beta_min, beta_max, lam)
    return x

# %% probability-flow-solution
def probability_flow(score, beta_min, beta_max):
    """The field f(t, x) of the probability-flow ODE of the VP SDE."""
    s = field(score)

    def f(t, x):
        beta = column(beta_min + t * (beta_max - beta_min), x)
        return -0.5 * beta * (x + s(t, x))

    return f


def pf_log_prob(score, x, beta_min, beta_max, n_steps, base_log_prob):
    """ln p_0(x) (B,) for x (B, D): the log-density at x(1), and the integral of the divergence."""
    f = probability_flow(score, beta_min, beta_max)

    def augmented(t, state):
        v, trace = exact_trace(f, t, state[:, :-1])
        return torch.cat([v, trace[:, None]], 1)

    start = torch.cat([x, torch.zeros(len(x), 1, dtype=x.dtype)], 1)
    end = rk4(augmented, start, 0.0, 1.0, n_steps)
    return base_log_prob(end[:, :-1]) + end[:, -1]

# %% fm-loss-solution
def fm_path(x_0, x_1, t):
    """The point x_t between noise x_0 and data x_1 (B, *) at t (B,), and the target of the velocity there."""
    t = column(t, x_1)
    return (1 - t) * x_0 + t * x_1, x_1 - x_0


def fm_loss(model, x_1, x_0=None):
    """The flow matching loss of model(x, t) on data x_1 (B, *), with noise x_0 drawn unless given."""
    if x_0 is None:
        x_0 = torch.randn_like(x_1)
    t = torch.rand(len(x_1), dtype=x_1.dtype)
    x_t, target = fm_path(x_0, x_1, t)
    return (model(x_t, t) - target).square().mean()

# %% fm-sample-solution
def fm_sample(model, x_0, n_steps):
    """Data (B, *) from noise x_0 (B, *) by n_steps Euler steps along model(x, t)."""
    with torch.no_grad():
        return euler(field(model), x_0, 0.0, 1.0, n_steps)


def velocity_to_score(v, x, t):
    """The score of p_t at x (B, *) from the velocity v (B, *); t a number or (B,), below 1."""
    t = column(t, x)
    return -(x - t * v) / (1 - t)


def score_to_velocity(s, x, t):
    """The velocity at x (B, *) from the score s (B, *) of p_t; t a number or (B,), above 0."""
    t = column(t, x)
    return (x + (1 - t) * s) / t

# %% ot-solution
def ot_pairing(x_0, x_1):
    """The permutation (B,) of x_1 (B, *) that makes the pairs with x_0 (B, *) shortest, in the sum of squares."""
    a, b = x_0.detach().double().flatten(1), x_1.detach().double().flatten(1)
    cost = (a[:, None] - b[None]).square().sum(2)
    _, columns = linear_sum_assignment(cost.cpu().numpy())
    return torch.as_tensor(columns, dtype=torch.long)


def ot_fm_batch(x_0, x_1, y):
    """Noise x_0 (B, *), and data x_1 (B, *) with their labels y (B,) in the order of the best pairs."""
    order = ot_pairing(x_0, x_1)
    return x_0, x_1[order], y[order]

# %% reflow-solution
def reflow_pairs(model, x_0, n_steps):
    """Noise x_0 (B, *) as given, and where n_steps Euler steps along model(x, t) take it."""
    return x_0.detach(), fm_sample(model, x_0, n_steps)


def straightness(model, x_0, n_steps):
    """Mean squared distance between velocity and total displacement along Euler paths from x_0 (B, *)."""
    f, h = field(model), 1 / n_steps
    x, velocities = x_0, []
    with torch.no_grad():
        for i in range(n_steps):
            velocities.append(f(i * h, x))
            x = x + h * velocities[-1]
        apart = [((x - x_0) - v).flatten(1).square().sum(1).mean() for v in velocities]
        return torch.stack(apart).mean()

# %% train-ring-solution
class Velocity(nn.Module):
    """The velocity of points in the plane."""

    def __init__(self, width=128):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 2)
        )

    def forward(self, x, t):
        return self.net(torch.cat([x, t[:, None]], 1))


def make_velocity():
    """A new, untrained network for points in the plane; choose its sizes."""
    return Velocity()


def fit_fm(model, x_1, n_steps, x_0=None, batch=256, lr=3e-3):
    """Train any model(x, t) in place on random rows of x_1, paired with those of x_0 if given; the list of losses."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=n_steps + 1)
    losses = []
    model.train()
    for _ in range(n_steps):
        rows = torch.randint(len(x_1), (batch,))
        loss = fm_loss(model, x_1[rows], None if x_0 is None else x_0[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    model.eval()
    return losses

# %% train-ring-run
# Bind the trained network to `ring_model` and the list of losses to `ring_losses`.
with when_written():
    torch.manual_seed(0)
    ring_model = make_velocity()
    ring_losses = fit_fm(ring_model, ring_train, 3000)

# %% train-few-steps-run
# Bind the second network to `ring_reflow`.
with when_written("ring_model"):
    torch.manual_seed(1)
    pair_noise, pair_ends = reflow_pairs(ring_model, torch.randn(20000, 2), 50)
    ring_reflow = make_velocity()
    fit_fm(ring_reflow, pair_ends, 2000, x_0=pair_noise)

# %% train-digits-solution
class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, h):
        return h + self.outer(F.silu(self.inner(F.silu(h))))


class DigitsVelocity(nn.Module):
    """The velocity of pictures."""

    def __init__(self, width=256, depth=3):
        super().__init__()
        self.first = nn.Linear(64 + 32, width)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.last = nn.Linear(width, 64)

    def forward(self, x, t):
        g = self.last(F.silu(self.blocks(self.first(torch.cat([x, time_features(t, 32)], 1)))))
        rest = (1 - t[:, None]).clamp_min(1e-3)
        ends = torch.tanh(g + t[:, None] * x / rest**2)
        return (ends - x) / rest


def make_digits_velocity():
    """A new, untrained network for pictures (B, 64); choose its sizes."""
    return DigitsVelocity()

# %% train-digits-run
# Bind the trained network to `digits_model` and the list of losses to `digits_losses`.
with when_written():
    torch.manual_seed(0)
    digits_model = make_digits_velocity()
    digits_losses = fit_fm(digits_model, digits_train, 1000, batch=128)
    torch.save(digits_model.state_dict(), "digits_model.pt")
