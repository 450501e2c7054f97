"""By the same: a Butcher tableau, tuples that add and scale, vjp, inference mode, FiLM, pairs by transport."""

# %% theory-velocity-code-solution
def gaussian_velocity(x, t, mean, std):
    """E[x_1 - x_0 | x_t = x] for data N(mean, diag(std²)); x (B, D), t a number or (B,), mean and std (D,)."""
    t = torch.as_tensor(t, dtype=x.dtype)
    t = t.view(-1, 1) if t.ndim else t
    noise, data = 1 - t, t * std
    y = (x - t * mean) / torch.hypot(data, noise + 0 * data).pow(2)
    return mean + std * data * y - noise * y

# %% theory-floor-code-solution
def roots(cov):
    """Deviations along the principal axes."""
    return torch.linalg.svdvals(cov).sqrt()


def fm_floor(cov):
    """The least flow matching loss, mean over dimensions, for data N(m, cov); cov (D, D)."""
    return float(roots(cov).sum()) * math.pi / (2 * cov.shape[0])


def flow_straightness(cov):
    """The straightness of the exact flow, sum over dimensions, for data N(m, cov); cov (D, D)."""
    return float(roots(cov).sum()) * (4 - math.pi) / 2

# %% theory-change-code-solution
from typing import NamedTuple


class Bridge(NamedTuple):
    tau: torch.Tensor
    scale: torch.Tensor


def vp_to_flow(t, beta_min, beta_max):
    """Flow time tau and scale of SDE time t, a number or (B,): scale · x_t is the flow matching path at tau."""
    t = torch.as_tensor(t, dtype=torch.float64)
    integral = t * (beta_min + (beta_max - beta_min) * t / 2)
    odds = torch.expm1(integral).sqrt()  # sigma / alpha
    return Bridge(1 / (1 + odds), torch.exp(integral / 2) / (1 + odds))


def noise_to_velocity(eps, y, tau):
    """The velocity at y (B, *) and flow time tau, a number or (B,), from the predicted noise eps (B, *)."""
    tau = column(tau, y)
    data = (y - (1 - tau) * eps) / tau
    return data - eps

# %% ode-solution
class Tableau(NamedTuple):
    """An explicit Runge–Kutta method."""

    nodes: tuple
    rows: tuple
    weights: tuple

    def solve(self, f, state, t0, t1, n):
        h = (t1 - t0) / n
        for i in range(n):
            slopes = []
            for node, row in zip(self.nodes, self.rows):
                inner = state
                for a, k in zip(row, slopes):
                    if a:
                        inner = inner + (a * h) * k
                slopes.append(f(t0 + (i + node) * h, inner))
            state = state + h * sum(w * k for w, k in zip(self.weights, slopes))
        return state


EULER = Tableau((0,), ((),), (1,))
RK4 = Tableau((0, 0.5, 0.5, 1), ((), (0.5,), (0, 0.5), (0, 0, 1)), (1 / 6, 1 / 3, 1 / 3, 1 / 6))


def euler(f, x, t0, t1, n_steps):
    """x (B, *) at t1 of dx/dt = f(t, x), from x at t0, by n_steps Euler steps."""
    return EULER.solve(f, x, t0, t1, n_steps)


def rk4(f, x, t0, t1, n_steps):
    """The same by n_steps steps of the classical Runge–Kutta method."""
    return RK4.solve(f, x, t0, t1, n_steps)

# %% adjoint-solution
class Bundle(tuple):
    """Tensors that add and scale entry by entry, so that `rk4` takes them as they are."""

    def __add__(self, other):
        return Bundle(a + b for a, b in zip(self, other)) if isinstance(other, tuple) else self

    def __radd__(self, other):
        return self

    def __mul__(self, number):
        return Bundle(number * a for a in self)

    __rmul__ = __mul__


class Adjoint(torch.autograd.Function):
    """An RK4 solve whose gradients come from the adjoint equations, integrated backwards from its end."""

    @staticmethod
    def forward(ctx, module, x, t0, t1, n_steps, *parameters):
        ctx.problem = module, t0, t1, n_steps
        end = rk4(module, x, t0, t1, n_steps)
        ctx.save_for_backward(end.detach(), *parameters)
        return end

    @staticmethod
    def backward(ctx, grad):
        module, t0, t1, n_steps = ctx.problem
        end, *parameters = ctx.saved_tensors
        live = [k for k, p in enumerate(parameters) if p.requires_grad]

        def slope(t, bundle):
            x, a = bundle[0].detach().requires_grad_(), bundle[1]
            with torch.enable_grad():
                v = module(t, x)
                power = (a * v).sum()
                wrt = [x, *(parameters[k] for k in live)]
                pulls = torch.autograd.grad(power, wrt, allow_unused=True) if power.requires_grad else [None] * len(wrt)
            return Bundle([v.detach(), *(torch.zeros_like(w) if p is None else -p for w, p in zip(wrt, pulls))])

        start = Bundle([end, grad, *(torch.zeros_like(parameters[k]) for k in live)])
        _, by_x, *pulls = rk4(slope, start, t1, t0, n_steps)
        result = [None] * len(parameters)
        for k, pull in zip(live, pulls):
            result[k] = pull
        return (None, by_x, None, None, None, *result)


def odeint_adjoint(module, x, t0, t1, n_steps):
    """x (B, *) at t1 of dx/dt = module(t, x), by RK4; gradients by the adjoint method."""
    return Adjoint.apply(module, x, t0, t1, n_steps, *module.parameters())

# %% cnf-solution
from torch.func import vjp


def exact_trace(f, t, x):
    """f(t, x) (B, D) and the trace of its Jacobian (B,)."""
    v, pull = vjp(lambda z: f(t, z), x)
    basis = torch.eye(x.shape[1], dtype=x.dtype)
    return v, sum(pull(e.expand_as(x).contiguous())[0] @ e for e in basis)


def hutchinson(f, t, x, noise):
    """f(t, x) (B, *) and noiseᵀ J noise (B,), for noise of x's shape."""
    v, pull = vjp(lambda z: f(t, z), x)
    return v, torch.einsum("bi,bi->b", pull(noise)[0].flatten(1), noise.flatten(1))


class Point(NamedTuple):
    x: torch.Tensor
    gain: torch.Tensor


def cnf_log_prob(f, x, n_steps, noise=None):
    """ln p(x) (B,) of the flow of f from N(0, I) at t = 0 to x (B, *) at t = 1."""

    def both(t, bundle):
        if noise is None:
            v, trace = exact_trace(lambda s, z: f(s, z.view(x.shape)).flatten(1), t, bundle[0].flatten(1))
            return Bundle((v.view(x.shape), trace))
        return Bundle(hutchinson(f, t, bundle[0], noise))

    end = Point(*rk4(both, Bundle((x, torch.zeros(x.shape[0], dtype=x.dtype))), 1.0, 0.0, n_steps))
    normal = torch.distributions.Normal(0.0, 1.0)
    return normal.log_prob(end.x).flatten(1).sum(1) + end.gain

# %% sde-marginals-solution
class Kernel(NamedTuple):
    rate: torch.Tensor
    mean_factor: torch.Tensor
    std: torch.Tensor


def vp_coefficients(t, beta_min, beta_max):
    """(beta, mean_factor, std) of the VP SDE at t, a number or (B,); each of t's shape."""
    t = torch.as_tensor(t) if torch.is_tensor(t) else torch.tensor(t, dtype=torch.float64)
    half = t * (beta_min + (beta_max - beta_min) * t / 2) / 2
    return Kernel(torch.lerp(torch.full_like(t, beta_min), torch.full_like(t, beta_max), t), (-half).exp(), (-(-2 * half).expm1()).sqrt())


def ve_coefficients(t, sigma_min, sigma_max):
    """(g, mean_factor, std) of the VE SDE at t, a number or (B,); each of t's shape."""
    t = torch.as_tensor(t) if torch.is_tensor(t) else torch.tensor(t, dtype=torch.float64)
    ratio = sigma_max / sigma_min
    sigma = sigma_min * ratio**t
    return Kernel(sigma * (2 * math.log(ratio)) ** 0.5, t * 0 + 1, ((sigma - sigma_min) * (sigma + sigma_min)).clamp_min(0).sqrt())


def vp_step(x, t, dt, noise, beta_min, beta_max):
    """x (B, *) after one Euler–Maruyama step of the VP SDE from t to t + dt; t a number or (B,)."""
    gain = column(vp_coefficients(t, beta_min, beta_max).rate, x) * dt
    return torch.addcmul((1 - gain / 2) * x, gain.sqrt(), noise)


def ve_step(x, t, dt, noise, sigma_min, sigma_max):
    """The same of the VE SDE."""
    return torch.addcmul(x, column(ve_coefficients(t, sigma_min, sigma_max).rate, x), noise, value=dt**0.5)

# %% reverse-sde-solution
def reverse_step(x, t, dt, noise, score, beta_min, beta_max, lam=1.0):
    """x (B, *) after one step back from t to t - dt; t, dt and lam are numbers."""
    amount = (beta_min * (1 - t) + beta_max * t) * dt
    s = score(x, x.new_full((x.shape[0],), t))
    return x * (1 + amount / 2) + s * (amount * (1 + lam * lam) / 2) + noise * (lam * amount**0.5)


@torch.no_grad()
def reverse_sample(x, score, beta_min, beta_max, n_steps, lam=1.0):
    """x (B, *) from t = 1 to t = 0 by n_steps steps back."""
    for left in range(n_steps, 0, -1):
        x = reverse_step(x, left / n_steps, 1 / n_steps, torch.empty_like(x).normal_(), score, beta_min, beta_max, lam)
    return x

# %% probability-flow-solution
class ProbabilityFlow:
    """A callable field."""

    def __init__(self, score, beta_min, beta_max):
        self.score, self.low, self.high = score, beta_min, beta_max

    def __call__(self, t, x):
        times = torch.as_tensor(t, dtype=x.dtype).repeat(x.shape[0])
        beta = self.low + (self.high - self.low) * column(times, x)
        return beta * (x + self.score(x, times)) * -0.5


def probability_flow(score, beta_min, beta_max):
    """The field f(t, x) of the probability-flow ODE of the VP SDE."""
    return ProbabilityFlow(score, beta_min, beta_max)


def pf_log_prob(score, x, beta_min, beta_max, n_steps, base_log_prob):
    """ln p_0(x) (B,) for x (B, D): the log-density at x(1), and the integral of the divergence."""
    f = probability_flow(score, beta_min, beta_max)
    start = Bundle((x, torch.zeros(x.shape[0], dtype=x.dtype)))
    end, gain = rk4(lambda t, b: Bundle(exact_trace(f, t, b[0])), start, 0.0, 1.0, n_steps)
    return base_log_prob(end) + gain

# %% fm-loss-solution
def fm_path(x_0, x_1, t):
    """The point x_t between noise x_0 and data x_1 (B, *) at t (B,), and the target of the velocity there."""
    return torch.lerp(x_0, x_1, column(t, x_1)), torch.sub(x_1, x_0)


def fm_loss(model, x_1, x_0=None):
    """The flow matching loss of model(x, t) on data x_1 (B, *), with noise x_0 drawn unless given."""
    t = torch.empty(x_1.shape[0], dtype=x_1.dtype).uniform_()  # the time first, then the noise
    x_t, target = fm_path(torch.empty_like(x_1).normal_() if x_0 is None else x_0, x_1, t)
    return F.mse_loss(model(x_t, t), target)

# %% fm-sample-solution
@torch.inference_mode()
def walk(model, x, n_steps):
    """Every point and velocity of an Euler path."""
    points, velocities = [x], []
    for t in torch.arange(n_steps, dtype=x.dtype) / n_steps:
        velocities.append(model(points[-1], t.repeat(x.shape[0])))
        points.append(points[-1] + velocities[-1] / n_steps)
    return points, velocities


def fm_sample(model, x_0, n_steps):
    """Data (B, *) from noise x_0 (B, *) by n_steps Euler steps along model(x, t)."""
    return walk(model, x_0, n_steps)[0][-1].clone()


def velocity_to_score(v, x, t):
    """The score of p_t at x (B, *) from the velocity v (B, *); t a number or (B,), below 1."""
    t = column(t, x)
    return (t * v - x) / (1 - t)


def score_to_velocity(s, x, t):
    """The velocity at x (B, *) from the score s (B, *) of p_t; t a number or (B,), above 0."""
    t = column(t, x)
    noise = -(1 - t) * s  # E[x_0 | x_t]
    return (x - (1 - t) * noise) / t - noise

# %% ot-solution
def ot_pairing(x_0, x_1):
    """The permutation (B,) of x_1 (B, *) that makes the pairs with x_0 (B, *) shortest, in the sum of squares."""
    a, b = (x.detach().double().flatten(1) for x in (x_0, x_1))
    rows, columns = linear_sum_assignment((a @ b.T).numpy(), maximize=True)  # the squares of the norms do not matter
    return torch.from_numpy(columns[np.argsort(rows)]).long()


def ot_fm_batch(x_0, x_1, y):
    """Noise x_0 (B, *), and data x_1 (B, *) with their labels y (B,) in the order of the best pairs."""
    return (x_0, *(q.index_select(0, ot_pairing(x_0, x_1)) for q in (x_1, y)))

# %% reflow-solution
def reflow_pairs(model, x_0, n_steps):
    """Noise x_0 (B, *) as given, and where n_steps Euler steps along model(x, t) take it."""
    return x_0, fm_sample(model, x_0, n_steps)


def straightness(model, x_0, n_steps):
    """Mean squared distance between velocity and total displacement along Euler paths from x_0 (B, *)."""
    v = torch.stack(walk(model, x_0, n_steps)[1]).flatten(2)  # the displacement is their mean
    return float(v.var(0, unbiased=False).sum(1).mean())

# %% train-ring-solution
class Film(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.main, self.by_time = nn.Linear(width, width), nn.Linear(16, 2 * width)

    def forward(self, h, e):
        scale, shift = self.by_time(e).chunk(2, 1)
        return h + F.gelu(self.main(h) * (1 + scale) + shift)


class Velocity(nn.Module):
    """The velocity of points in the plane."""

    def __init__(self, width=96):
        super().__init__()
        self.enter, self.leave = nn.Linear(2, width), nn.Linear(width, 2)
        self.middle = nn.ModuleList([Film(width) for _ in range(3)])

    def forward(self, x, t):
        h, e = self.enter(x), time_features(t, 16)
        for film in self.middle:
            h = film(h, e)
        return self.leave(h)


def make_velocity():
    """A new, untrained network for points in the plane; choose its sizes."""
    return Velocity()


def fit_fm(model, x_1, n_steps, x_0=None):
    """Train any model(x, t) in place on random rows of x_1, paired with those of x_0 if given; the list of losses."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-4, betas=(0.9, 0.99))
    cosine = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: min(1, (k + 1) / 50) * 0.5 * (1 + math.cos(math.pi * k / n_steps)))
    data = (x_1,) if x_0 is None else (x_1, x_0)
    model.train()

    def batches():
        while True:  # epochs without replacement
            yield from torch.randperm(len(x_1)).split(200)

    losses = []
    for rows, _ in zip(batches(), range(n_steps)):
        optimizer.zero_grad(set_to_none=True)
        loss = fm_loss(model, *(part[rows] for part in data))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        cosine.step()
        losses += [float(loss.detach())]
    model.eval()
    return losses

# %% train-ring-run
# Bind the trained network to `ring_model` and the list of losses to `ring_losses`.
with when_written():
    ring_model = make_velocity()
    ring_losses = fit_fm(ring_model, ring_train, 3000)

# %% train-few-steps-run
# Bind the second network to `ring_reflow`: pairs by optimal transport, in batches of 200.
with when_written("ring_model"):
    ring_reflow = make_velocity()
    starts, ends = [], []
    for part in ring_train[torch.randperm(len(ring_train))].split(200):
        a, b, _ = ot_fm_batch(torch.randn_like(part), part, torch.zeros(len(part)))
        starts.append(a)
        ends.append(b)
    fit_fm(ring_reflow, torch.cat(ends), 2500, x_0=torch.cat(starts))

# %% train-digits-solution
class DigitsVelocity(nn.Module):
    """The velocity of pictures."""

    def __init__(self, width=256, depth=3):
        super().__init__()
        self.enter = nn.Linear(128, width)
        self.time = nn.Linear(32, width)
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)) for _ in range(depth))
        self.leave = nn.Linear(width, 64)

    def forward(self, x, t):
        rest = (1 - t).clamp_min(1e-3)[:, None]
        own = t[:, None] * x / rest.square()
        h = self.enter(torch.cat([x, own.tanh()], 1))
        for block in self.blocks:
            h = h + block(h + self.time(time_features(t, 32)))
        return ((self.leave(F.silu(h)) + own).tanh() - x) / rest


def make_digits_velocity():
    """A new, untrained network for pictures (B, 64); choose its sizes."""
    return DigitsVelocity()

# %% train-digits-run
# Bind the trained network to `digits_model` and the list of losses to `digits_losses`.
with when_written():
    digits_model = make_digits_velocity()
    digits_losses = fit_fm(digits_model, digits_train, 1000)
    torch.save(digits_model.state_dict(), "digits_model.pt")
