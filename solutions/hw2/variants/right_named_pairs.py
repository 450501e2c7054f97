"""A stranger's: named pairs, closures for every map, reshapes by axes, digits by whitening and couplings of pixels."""

# %% theory-volume-gap-solution
def volume_preserving_gap(cov):
    """Least KL(N(0, cov) || model) in nats over volume-preserving maps; cov (D, D) symmetric positive definite."""
    dim, log_det = cov.size(0), torch.linalg.slogdet(cov).logabsdet
    kl_from_best = lambda t: (dim * t - dim) / 2 - log_det / 2
    return kl_from_best(torch.exp(log_det / dim))

# %% theory-gaussianise-solution
def gaussianise(x, weights, means, stds):
    """The increasing map from a mixture of Gaussians to N(0, 1).

    x: (B,); weights, means, stds: (K,), all float64. Returns z (B,) and logdet = ln dz/dx (B,).
    """
    r = (x[None] - means[:, None]) / stds[:, None]
    below = (weights[:, None] * torch.special.ndtr(r)).sum(0)
    above = (weights[:, None] * torch.special.ndtr(-r)).sum(0)
    # take the smaller tail, so that nothing rounds to 1
    z = torch.where(below < above, torch.special.ndtri(below), -torch.special.ndtri(above))
    dens = (weights / stds) @ torch.exp(-r.square() / 2 + (r.square() / 2).amin(0))
    return z, dens.log() - (r.square() / 2).amin(0) + z.square() / 2

# %% theory-bits-solution
def dequantised_bits(log_density, x, n_levels, n_draws=1):
    """Bits per dimension of pictures under a density on the unit cube, with n_draws draws of the noise.

    log_density: maps (N, D) to (N,), nats; x: (B, D), floats that hold the integers 0 .. n_levels - 1. Returns (B,).
    """
    total = None
    for _ in range(n_draws):  # one draw at a time: a running log of the sum
        one = log_density((x + torch.rand_like(x)) / n_levels)
        total = one if total is None else torch.logaddexp(total, one)
    per_dim = (total - math.log(n_draws)) / x.shape[1]
    return ((math.log(n_levels) - per_dim) / math.log(2)).to(x.dtype)

# %% planar-solution
def _plane(u, w):
    """w . u, m(w . u) and |w|^2."""
    a = (w * u).sum()
    m = torch.clamp(a, min=0) + torch.log1p(torch.exp(-a.abs())) - 1
    return a, m, (w * w).sum()


def planar_u_hat(u, w):
    """The vector of task 1.1 with w . u_hat > -1, whatever u is; u, w: (D,). Returns (D,)."""
    a, m, size = _plane(u, w)
    return u + (m - a) / size * w


def planar_forward(x, u, w, b):
    """A planar map, with u_hat in the place of u. x: (B, D); u, w: (D,); b: (). Returns z (B, D) and logdet (B,)."""
    _, m, _ = _plane(u, w)
    a = (x * w).sum(-1, keepdim=True) + b
    sech2 = 4 * torch.sigmoid(2 * a) * torch.sigmoid(-2 * a)  # 1 - tanh^2
    return x + torch.tanh(a) * planar_u_hat(u, w)[None], torch.log(1 + m * sech2).squeeze(-1)

# %% coupling-masks-solution
def coupling_mask(kind, shape, parity):
    """A mask of the shape of one sample, float32, 1 = passes. kind: "checkerboard" or "channel"; parity: 0 or 1."""
    rule = {"checkerboard": lambda place: (place[-2] + place[-1] + parity) % 2,
            "channel": lambda place: (place[0] < shape[0] // 2) != (parity == 1)}[kind]
    ones = [float(rule(place)) for place in itertools.product(*map(range, shape))]
    return torch.tensor(ones, dtype=torch.float32).reshape(tuple(shape))


def rearrange(x, into, order, out):
    """A small einops: split axes, put them into an order, merge them."""
    return x.reshape(into).permute(order).reshape(out)


def squeeze(x):
    """(B, C, H, W) to (B, 4C, H/2, W/2); H and W are even."""
    b, c, h, w = x.shape
    return rearrange(x, (b, c, h // 2, 2, w // 2, 2), (0, 1, 3, 5, 2, 4), (b, 4 * c, h // 2, w // 2))


def unsqueeze(x):
    """The inverse of squeeze: (B, 4C, H, W) to (B, C, 2H, 2W)."""
    b, c, h, w = x.shape
    return rearrange(x, (b, c // 4, 2, 2, h, w), (0, 1, 4, 2, 5, 3), (b, c // 4, 2 * h, 2 * w))

# %% coupling-solution
from typing import NamedTuple


class Moved(NamedTuple):
    """What every map here returns: a pair with names."""

    result: torch.Tensor
    logdet: torch.Tensor


def per_sample(v):
    return v.reshape(v.shape[0], -1).sum(-1)


def affine_of(mask, net):
    """Two closures, forth and back."""

    def numbers(v):
        m = mask.to(v.dtype)
        log_s, t = net(v * m)
        return log_s * (1 - m), t * (1 - m)

    def forth(x):
        log_s, t = numbers(x)
        return Moved(x * log_s.exp() + t, per_sample(log_s))

    def back(z):
        log_s, t = numbers(z)
        return Moved((z - t) / log_s.exp(), per_sample(-log_s))

    return forth, back


def coupling_forward(x, mask, net):
    """x: (B, *); mask: the shape of x[0]; net maps (B, *) to (log_s, t), each (B, *). Returns z (B, *) and logdet (B,)."""
    return affine_of(mask, net)[0](x)


def coupling_inverse(z, mask, net):
    """The inverse map. Returns x (B, *) and its own logdet (B,)."""
    return affine_of(mask, net)[1](z)

# %% realnvp-solution
from functools import reduce


class Flow(nn.Module):
    """A stack of invertible layers with base law N(0, I)."""

    def __init__(self, layers):
        """layers: modules with `forward` and `inverse`, in the order from data to noise."""
        super().__init__()
        self.layers = nn.ModuleList()
        for layer in layers:
            self.layers.append(layer)

    @staticmethod
    def _run(maps, v):
        def step(so_far, map_):
            result, logdet = map_(so_far.result)
            return Moved(result, so_far.logdet + logdet)

        return reduce(step, maps, Moved(v, torch.zeros(len(v), dtype=v.dtype)))

    def forward(self, x):
        """Data x (B, *) to noise z (B, *) and logdet (B,)."""
        return self._run(list(self.layers), x)

    def inverse(self, z):
        """Noise z (B, *) to data x (B, *) and the logdet (B,) of this direction."""
        return self._run([layer.inverse for layer in list(self.layers)[::-1]], z)

    def log_prob(self, x):
        """ln p(x) in nats, (B,), summed over all dimensions of a sample."""
        moved = self(x)
        size = math.prod(moved.result.shape[1:])
        return moved.logdet - per_sample(moved.result.square()) / 2 - size / 2 * math.log(2 * math.pi)

    def sample(self, n, shape):
        """n samples, each of the given shape: (n, *shape)."""
        with torch.inference_mode():
            noise = torch.stack([torch.randn(tuple(shape)) for _ in range(n)])  # sample after sample
            x = self.inverse(noise).result
        return x.clone()

# %% actnorm-solution
class ActNorm(nn.Module):
    """An affine map for each channel, set from the first batch seen in training mode."""

    def __init__(self, channels):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("fresh", torch.ones(1))

    @torch.no_grad()
    def _set_from(self, x):
        axes = [a for a in range(x.dim()) if a != 1]
        self.log_scale.copy_(-x.std(axes).log())  # divisor n - 1
        self.shift.copy_(-x.mean(axes) * self.log_scale.exp())
        self.fresh.zero_()

    def forward(self, x):
        """x: (B, C) or (B, C, H, W). Returns z of that shape and logdet (B,)."""
        if self.training and self.fresh.item() == 1:
            self._set_from(x)
        last = x.movedim(1, -1)
        z = (last * self.log_scale.exp() + self.shift).movedim(-1, 1)
        return Moved(z, per_sample(torch.zeros_like(last) + self.log_scale))

    def inverse(self, z):
        """The inverse map and its own logdet."""
        last = z.movedim(1, -1)
        x = ((last - self.shift) / self.log_scale.exp()).movedim(-1, 1)
        return Moved(x, per_sample(torch.zeros_like(last) - self.log_scale))

# %% conv1x1-solution
class InvertibleConv1x1(nn.Module):
    """One learned matrix (C, C) mixes the channels at every pixel of (B, C, H, W)."""

    def __init__(self, channels):
        super().__init__()
        start = torch.empty(channels, channels)
        nn.init.orthogonal_(start)
        self.transposed = nn.Parameter(start)

    def matrix(self):
        """W, shape (C, C)."""
        return self.transposed.mT

    def _volume(self, x):
        return torch.linalg.slogdet(self.transposed)[1] * x[:, 0].flatten(1).shape[1] * torch.ones(len(x), dtype=x.dtype)

    def forward(self, x):
        """x: (B, C, H, W). Returns z and logdet (B,)."""
        return Moved((x.movedim(1, -1) @ self.transposed).movedim(-1, 1), self._volume(x))

    def inverse(self, z):
        """The inverse map and its own logdet."""
        x = torch.linalg.solve(self.transposed, z.movedim(1, -1).flatten(1, 2), left=False)
        return Moved(x.unflatten(1, z.shape[2:]).movedim(-1, 1), -self._volume(z))

# %% maf-solution
def maf_forward(x, net):
    """Data x (B, D) to noise in one call of net, which maps (B, D) to (mean, log_std). Returns z and logdet (B,)."""
    mean, log_std = net(x)
    return Moved((x - mean) / log_std.exp(), per_sample(-log_std))


def one_by_one(known, net, entry):
    """Fill in entry after entry; net looks at what is filled in. Returns it and the last log_std, entry by entry."""
    columns, log_stds = [], []
    for i, column in enumerate(known.unbind(1)):
        guess = torch.stack(columns + [torch.zeros_like(column)] * (known.shape[1] - i), 1)
        mean, log_std = net(guess)
        columns.append(entry(column, mean[:, i], log_std[:, i]))
        log_stds.append(log_std[:, i])
    return torch.stack(columns, 1), torch.stack(log_stds, 1)


def maf_inverse(z, net):
    """Noise z (B, D) to data, one entry after another. Returns x and its own logdet (B,)."""
    x, log_std = one_by_one(z, net, lambda v, mean, log_std: v * log_std.exp() + mean)
    return Moved(x, per_sample(log_std))

# %% iaf-solution
def iaf_inverse(z, net):
    """Noise z (B, D) to data in one call of net. Returns x and its own logdet (B,)."""
    mean, log_std = net(z)
    return Moved(mean + log_std.exp() * z, per_sample(log_std))


def iaf_forward(x, net):
    """Data x (B, D) to noise, one entry after another. Returns z and its own logdet (B,)."""
    z, log_std = one_by_one(x, net, lambda v, mean, log_std: (v - mean) / log_std.exp())
    return Moved(z, per_sample(-log_std))

# %% dequantise-solution
def dequantise(x, n_levels):
    """Integers 0 .. n_levels - 1, any shape, long or float, to floats (x + u) / n_levels of that shape."""
    x = x if torch.is_floating_point(x) else x.to(torch.get_default_dtype())
    u = torch.rand(x.shape[::-1], dtype=x.dtype).permute(tuple(reversed(range(x.dim()))))  # drawn in another order
    return x / n_levels + u / n_levels


def logit_forward(y, alpha=0.05):
    """y (B, *) in [0, 1] to z (B, *) and logdet (B,)."""
    left, right = alpha + (1 - 2 * alpha) * y, alpha + (1 - 2 * alpha) * (1 - y)
    return Moved(torch.log(left / right), per_sample(torch.log((1 - 2 * alpha) / (left * right))))


def logit_inverse(z, alpha=0.05):
    """z (B, *) back to y, which may leave [0, 1], and the logdet (B,) of this direction."""
    y = (0.5 + 0.5 * torch.tanh(z / 2) - alpha) / (1 - 2 * alpha)
    # sigma' = 1 / (2 cosh(z / 2))^2, and ln 2 cosh is a logaddexp
    return Moved(y, per_sample(-2 * torch.logaddexp(z / 2, -z / 2) - math.log(1 - 2 * alpha)))

# %% train-mixture-solution
class Residual(nn.Module):
    def __init__(self, width, dropout):
        super().__init__()
        self.inner = nn.Sequential(nn.ReLU(), nn.Linear(width, width), nn.Dropout(dropout), nn.ReLU(), nn.Linear(width, width))

    def forward(self, h):
        return h + self.inner(h)


class Coupling(nn.Module):
    """An affine coupling as a layer; mask: the shape of one sample."""

    def __init__(self, mask, hidden=64, dropout=0.0):
        super().__init__()
        self.register_buffer("mask", mask)

        def subnet():
            last = nn.Linear(hidden, mask.numel())
            last.weight.data.mul_(0.01)
            last.bias.data.zero_()
            return nn.Sequential(nn.Linear(mask.numel(), hidden), Residual(hidden, dropout), nn.ReLU(), last)

        self.ln_s, self.shift_by = subnet(), subnet()

    def net(self, h):
        a = self.ln_s(h.flatten(1))
        return (2.5 * a / (1 + a.abs())).view_as(h), self.shift_by(h.flatten(1)).view_as(h)

    def forward(self, x):
        return coupling_forward(x, self.mask, self.net)

    def inverse(self, z):
        return coupling_inverse(z, self.mask, self.net)


def make_mixture_flow():
    """A new, untrained flow for points in the plane."""
    masks = itertools.cycle([torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])])
    return Flow([ActNorm(2), *(Coupling(next(masks)) for _ in range(10)), ActNorm(2)])


def fit_flow(flow, x, steps, batch_size=256, lr=5e-3, prepare=lambda batch: batch):
    """Train flow in place on random batches of x, each sent through `prepare` first.

    Returns the list of losses, one number (nats per sample) for each step, and leaves the flow in evaluation mode.
    """
    from torch.utils.data import DataLoader, RandomSampler, TensorDataset

    sampler = RandomSampler(TensorDataset(x), replacement=True, num_samples=steps * batch_size)
    batches = DataLoader(torch.arange(len(x)), batch_size=batch_size, sampler=sampler)
    optimiser = torch.optim.Adam(flow.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=lr, total_steps=steps)
    losses = []
    flow.train()
    for rows in batches:
        loss = -flow.log_prob(prepare(x[rows])).mean()
        flow.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 5)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    flow.eval()
    return losses

# %% train-mixture-run
# Bind the trained flow to `mixture_flow` and the list of losses to `mixture_losses`.
with when_written():
    mixture_flow = make_mixture_flow()
    mixture_losses = fit_flow(mixture_flow, mixture_train, steps=1500, lr=3e-3)

# %% train-digits-solution
class Pair(nn.Module):
    """A layer of two functions."""

    def __init__(self, forth, back):
        super().__init__()
        self.forth, self.back = forth, back

    def forward(self, x):
        return self.forth(x)

    def inverse(self, z):
        return self.back(z)


class PixelNorm(nn.Module):
    """A fixed standardisation: an ActNorm whose channels are the pixels."""

    def __init__(self, pictures):
        super().__init__()
        self.actnorm = ActNorm(64)
        self.actnorm.train()
        self.actnorm(pictures.flatten(1))  # sets its numbers
        self.actnorm.requires_grad_(False)

    def forward(self, x):
        z, logdet = self.actnorm(x.flatten(1))
        return Moved(z.reshape(x.shape), logdet)

    def inverse(self, z):
        x, logdet = self.actnorm.inverse(z.flatten(1))
        return Moved(x.reshape(z.shape), logdet)


def make_digits_flow():
    """A new, untrained flow for dequantised digits y in [0, 1], (B, 1, 8, 8)."""
    norm = PixelNorm(logit_forward(dequantise(digits_train[:5400], LEVELS)).result)
    boards = [coupling_mask("checkerboard", (1, 8, 8), k % 2) for k in range(8)]
    return Flow([Pair(logit_forward, logit_inverse), norm, *(Coupling(board, 192, 0.15) for board in boards)])

# %% train-digits-run
# Bind the trained flow to `digits_flow` and the list of losses to `digits_losses`.
with when_written():
    digits_flow = make_digits_flow()
    digits_losses = fit_flow(digits_flow, digits_train[:5400], steps=600, batch_size=128, lr=2e-3,
                             prepare=lambda x: dequantise(x, LEVELS))
    torch.save(digits_flow.state_dict(), "digits_flow.pt")
