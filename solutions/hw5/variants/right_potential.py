"""By one who had the release alone: samplers by a decorator, opposite times in pairs, noise as the slope of a potential."""

# %% theory-langevin-code-solution
def langevin_variance(sigma2, step_size, n_steps, start_variance):
    a = np.float64(1) - step_size / (2 * sigma2)
    with np.errstate(all="ignore"):
        rest = step_size / (1 - a * a)
        return float((start_variance - rest) * np.power(a * a, n_steps) + rest)

# %% theory-dsm-code-solution
def dsm_floor(cov, sigma):
    singular = torch.linalg.svdvals(cov.double())
    return len(cov) / sigma**2 - torch.reciprocal(singular + sigma * sigma).sum(dim=0)

# %% theory-posterior-code-solution
def posterior(x_0, x_t, abar_s, abar_t):
    def pair():
        joint = torch.tensor([[1 - abar_s, 0.0], [0.0, 1 - abar_t]], dtype=torch.float64)
        joint[0, 1] = joint[1, 0] = math.sqrt(abar_t / abar_s) * (1 - abar_s)  # cov(x_s, x_t | x_0)
        return joint

    (v_s, c), (_, v_t) = pair().tolist()
    return math.sqrt(abar_s) * x_0 + c / v_t * (x_t - math.sqrt(abar_t) * x_0), v_s - c * c / v_t

# %% theory-guidance-code-solution
def guided_gaussian(m_c, s_c, m_u, s_u, w):
    """p_w = exp(a x² + b x + const)."""
    a = -0.5 * (1 - w) / s_u / s_u - 0.5 * w / s_c / s_c
    b = (1 - w) * m_u / s_u / s_u + w * m_c / s_c / s_c
    return -b / (2 * a), math.sqrt(-1 / (2 * a))

# %% langevin-solution
import functools
import inspect


def sampler(f):
    """What all samplers owe: no graph, an own copy of the start, the network's mode and .grad untouched."""

    signature = inspect.signature(f)
    start = "x" if "x" in signature.parameters else "x_T"

    @functools.wraps(f)
    def wrapped(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.arguments[start] = bound.arguments[start].detach().clone()
        with torch.set_grad_enabled(False):
            return f(*bound.args, **bound.kwargs)

    return wrapped


def gauss(like):
    """Standard normal numbers, drawn in float64 and cast."""
    return torch.randn(tuple(like.shape), dtype=torch.float64).to(like.dtype)


def mixture_score(x, means, stds, weights):
    """Component by component, with the running maximum of a streaming softmax."""
    top = torch.full((len(x), 1), -math.inf, dtype=torch.float64)
    total, answer = torch.zeros_like(top), torch.zeros_like(x, dtype=torch.float64)
    for mean, std, weight in zip(means.double(), stds.double().tolist(), weights.double().tolist()):
        away = mean - x.double()
        log_p = math.log(weight) - x.shape[1] * math.log(std) - (away / std).square().sum(1, keepdim=True) / 2
        higher = torch.maximum(top, log_p)
        old, new = (top - higher).exp(), (log_p - higher).exp()
        total, answer, top = total * old + new, answer * old + new * away / std**2, higher
    return (answer / total).to(x.dtype)


@sampler
def langevin_chain(x, score, step_size, n_steps):
    step = 0
    while step < n_steps:
        x = x + step_size / 2 * score(x) + math.sqrt(step_size) * gauss(x)
        step += 1
    return x

# %% ebm-solution
def contrastive_loss(energy, data, samples, reg=0.0):
    with torch.no_grad():
        frozen = samples + 0
    moments = [(e.mean(), e.var(unbiased=False) + e.mean() ** 2) for e in map(energy, (data, frozen))]
    (low, low2), (high, high2) = moments
    return low - high + reg * (low2 + high2)


@sampler
def negative_samples(energy, x, step_size, n_steps):
    def score(place):
        with torch.enable_grad():
            place = torch.autograd.Variable(place.data, requires_grad=True)
            each = torch.stack(torch.unbind(energy(place)))
            return torch.autograd.grad(-each.sum(), [place])[0]

    return langevin_chain(x, score, step_size, n_steps)

# %% dsm-solution
def dsm_loss(score, x, sigma, noise):
    missed = sigma * score(x + sigma * noise) + noise
    return torch.stack([row.pow(2).sum() for row in missed]).mean() / sigma**2


def sliced_loss(score, x, v):
    """The directional derivative of g(h) = v's(x + h v) in one number h a sample, at h = 0."""
    h = torch.zeros(len(x), *[1] * (x.dim() - 1), dtype=x.dtype, requires_grad=True)
    g = torch.linalg.vecdot(v.flatten(1), score(x.detach() + h * v).flatten(1))
    (slope,) = torch.autograd.grad(g.sum(), h, create_graph=True)
    return (slope.flatten() + g**2 / 2).mean()

# %% ncsn-solution
def ncsn_loss(model, x, sigmas):
    sigma = torch.tensor([sigmas[k] for k in torch.randint(len(sigmas), (len(x),)).tolist()], dtype=x.dtype)
    noise = gauss(x)
    expand = sigma.expand(*x.shape[1:], -1).movedim(-1, 0)
    return F.mse_loss(expand * model(torch.addcmul(x, expand, noise), sigma), -noise) * x[0].numel()


@sampler
def annealed_langevin(model, x, sigmas, n_steps, eps):
    for sigma, _ in itertools.product(sigmas, range(n_steps)):
        told = torch.tensor([sigma] * len(x), dtype=x.dtype)
        x = langevin_chain(x, lambda place: model(place, told), eps * sigma * sigma / (sigmas[-1] * sigmas[-1]), 1)
    return x

# %% schedule-solution
def abar_at(betas, t, x):
    """Every product by itself, as written: a mask of the factors s <= t."""
    times, where = t.unique(return_inverse=True)
    used = torch.arange(len(betas)) <= times[:, None]
    return torch.where(used, 1 - betas.double(), 1.0).prod(1)[where].to(x.dtype)[(...,) + (None,) * (x.dim() - 1)]


def cosine_betas(n, s=0.008, largest=0.999):
    f = np.cos(np.pi / 2 * (np.arange(n + 1) / n + s) / (1 + s)) ** 2
    return torch.from_numpy(np.minimum(1 - f[1:] / f[:-1], largest))


def q_sample(x_0, t, betas, noise):
    angle = torch.acos(abar_at(betas, t, x_0.double()).sqrt())
    return (angle.cos() * x_0 + angle.sin() * noise).to(x_0.dtype)

# %% ddpm-reverse-solution
def reverse_mean_variance(x_t, t, noise, betas):
    x = x_t.to(torch.float64)
    ratio = lambda k: (lambda a: a / (1 - a))(abar_at(betas, k, x))  # signal to noise; infinite for clean data
    a_t, a_s = abar_at(betas, t, x), abar_at(betas, t - 1, x)
    share = 1 - ratio(t) / ratio(t - 1)  # of x̂_0 in the mean, 1 at index 0
    x_0 = (x - (1 - a_t).sqrt() * noise) / a_t.sqrt()
    mean = a_s.sqrt() * share * x_0 + (1 - share) * (a_s / a_t).sqrt() * x
    return mean.to(x_t), ((1 - a_s) * share).to(x_t)

# %% ddpm-loss-solution
def ddpm_loss(model, x_0, betas):
    """Antithetic times, as in many codes: t and T-1-t for two rows each, in random order; each is uniform."""
    n, T = len(x_0), len(betas)
    half = torch.randint(T, ((n + 1) // 2,))
    t = torch.cat([half, T - 1 - half])[torch.randperm(2 * len(half))[:n]]
    noise = gauss(x_0)
    return torch.mean(torch.square(torch.sub(model(q_sample(x_0, t, betas, noise), t), noise)))

# %% ddpm-sample-solution
@sampler
def ddpm_sample(model, x_T, betas):
    noises = [gauss(x_T) for _ in betas]  # one more than needed
    x = x_T
    for t in torch.arange(len(betas)).flip(0):
        index = t.repeat(len(x))
        mean, variance = reverse_mean_variance(x, index, model(x, index), betas)
        x = torch.where(index.view_as(variance) > 0, mean + variance.sqrt() * noises[t], mean)
    return x

# %% ddim-solution
@sampler
def ddim_sample(model, x_T, betas, steps, eta):
    """In units of the noise level: z = x/√ᾱ walks along r = √(1/ᾱ - 1)."""
    kept = {-1: 1.0} | {k: math.prod(1 - b for b in betas.tolist()[: k + 1]) for k in steps}
    r = {k: math.sqrt(max(1 / a - 1, 0.0)) for k, a in kept.items()}
    z = x_T.double() / math.sqrt(kept[steps[-1]])
    for now, last in list(itertools.pairwise([-1, *steps]))[::-1]:
        last, now = now, last  # pairs come as (previous, current)
        answer = model((z * math.sqrt(kept[now])).to(x_T.dtype), torch.full((len(z),), now)).double()
        up = eta * r[last] * math.sqrt(max(1 - (r[last] / r[now]) ** 2, 0.0))  # the deviation of fresh noise
        down = math.sqrt(max(r[last] ** 2 - up**2, 0.0))
        z = z + (down - r[now]) * answer + (up * gauss(z) if up else 0.0)
    return z.to(x_T.dtype)

# %% cfg-solution
def cfg_loss(model, x_0, y, betas, n_classes, p):
    from typing import NamedTuple

    class Dice(NamedTuple):
        t: torch.Tensor
        noise: torch.Tensor
        label: torch.Tensor

    dice = Dice(
        torch.randint(len(betas), (len(x_0),)),
        gauss(x_0),
        torch.tensor([n_classes if float(torch.rand(())) < p else label for label in y.tolist()], dtype=torch.long),
    )
    return F.mse_loss(model(q_sample(x_0, dice.t, betas, dice.noise), dice.t, dice.label), dice.noise)


def guided_noise(model, x, t, y, n_classes, w):
    pair = torch.stack([y, torch.full_like(y, n_classes)], 1).flatten()  # each row twice, one after the other
    answers = model(x.repeat_interleave(2, 0), t.repeat_interleave(2), pair).unflatten(0, (-1, 2))
    return torch.einsum("bk...,k->b...", answers, torch.tensor([w, 1 - w], dtype=answers.dtype))


@sampler
def cfg_sample(model, x_T, y, betas, n_classes, w):
    return ddpm_sample(functools.partial(_guided, model, y, n_classes, w), x_T, betas)


def _guided(model, y, n_classes, w, x, t):
    return guided_noise(model, x, t, y, n_classes, w)

# %% train-mixture-solution
class PlaneDenoiser(nn.Module):
    """The noise as the slope of a scalar: a potential of x and t, plus a multiple of x."""

    def __init__(self, width=80):
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(2 + 16, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, 1, bias=False))
        self.scale = nn.Linear(16, 1)

    def forward(self, x, t):
        z = time_features(t, 100, 16)
        with torch.enable_grad():
            place = x if x.requires_grad else x.detach().requires_grad_()
            value = self.phi(torch.cat([place, z], 1)).sum()
            (slope,) = torch.autograd.grad(value, place, create_graph=True)
        slope = slope if torch.is_grad_enabled() else slope.detach()
        return slope + self.scale(z) * x


def make_mixture_denoiser(**sizes):
    return PlaneDenoiser(**sizes)


def fit_ddpm(model, x_0, betas, steps, batch_size, lr):
    """Adam (amsgrad), a rate that falls like a line, and at the end the mean of the last tenth of the weights."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, amsgrad=True)
    mean, losses = torch.optim.swa_utils.AveragedModel(model), []
    from_here = int(0.9 * steps)
    model.train(True)
    for k in range(steps):
        optimizer.param_groups[0]["lr"] = lr * min((k + 1) / 50, 1.0, 1.2 * (1 - k / (steps + 1)))
        rows = torch.randperm(len(x_0))[:batch_size] if batch_size <= len(x_0) else torch.randint(len(x_0), (batch_size,))
        model.zero_grad()
        loss = ddpm_loss(model, x_0.index_select(0, rows), betas)
        loss.backward()
        optimizer.step()
        losses += [loss.item()]
        if k >= from_here:
            mean.update_parameters(model)
    if steps > 0:
        model.load_state_dict(mean.module.state_dict())
    model.requires_grad_(True).zero_grad()
    model.train(False)
    return losses

# %% train-mixture-run
with when_written():
    mixture_model = make_mixture_denoiser()
    mixture_losses = fit_ddpm(mixture_model, mixture_train, MIXTURE_BETAS, steps=3000, batch_size=200, lr=6e-3)

# %% train-digits-solution
class DigitsDenoiser(nn.Module):
    """A residual perceptron whose features time multiplies and shifts."""

    def __init__(self, width=224, depth=4):
        super().__init__()
        self.register_buffer("abar", torch.cumprod(1 - DIGITS_BETAS, 0))  # float64
        self.stem = nn.Linear(64, width)
        self.gate = nn.Sequential(nn.Linear(32, 64), nn.SiLU(), nn.Linear(64, depth * 2 * width))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.mixers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Linear(width, 64)
        self.depth = depth

    def forward(self, x, t):
        signal, lost = (z.to(x.dtype).reshape(-1, 1, 1, 1) for z in (self.abar[t].sqrt(), 1 - self.abar[t]))
        gates = self.gate(time_features(t, 200, 32)).chunk(2 * self.depth, 1)
        h = self.stem(x.flatten(1))
        for k, (layer, mixer) in enumerate(zip(self.layers, self.mixers)):
            h = h + mixer(F.silu(layer(F.silu(h * (1 + gates[2 * k]) + gates[2 * k + 1]))))
        log_odds = 2 * (self.head(F.silu(h)).reshape_as(x) + signal * x / lost)
        return (x - signal * (2 * torch.sigmoid(log_odds) - 1)) * lost.rsqrt()


def make_digits_denoiser():
    return DigitsDenoiser()

# %% train-digits-run
with when_written():
    digits_model = make_digits_denoiser()
    digits_losses = fit_ddpm(digits_model, digits_train, DIGITS_BETAS, steps=2000, batch_size=128, lr=2.5e-3)
    torch.save(digits_model.state_dict(), "digits_model.pt")
