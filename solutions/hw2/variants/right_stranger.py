"""Somebody who had only the released files, and did not see a check before the end."""


# %% theory-volume-gap-solution
def volume_preserving_gap(cov):
    """Least KL(N(0, cov) || model) in nats over volume-preserving maps; cov (D, D) symmetric positive definite."""
    D = cov.shape[0]
    logdet = torch.linalg.slogdet(cov)[1]
    return D / 2 * torch.expm1(logdet / D) - logdet / 2


# %% theory-gaussianise-solution
def gaussianise(x, weights, means, stds):
    """The increasing map from a mixture of Gaussians to N(0, 1).

    x: (B,); weights, means, stds: (K,), all float64. Returns z (B,) and logdet = ln dz/dx (B,).
    """
    units = (x[:, None] - means) / stds  # (B, K)
    z = torch.special.ndtri((weights * torch.special.ndtr(units)).sum(1))
    log_p = torch.logsumexp(weights.log() - stds.log() - units.square() / 2, 1)  # the 2 pi cancels
    return z, log_p + z.square() / 2


# %% theory-bits-solution
def dequantised_bits(log_density, x, n_levels, n_draws=1):
    """Bits per dimension of pictures under a density on the unit cube, with n_draws draws of the noise.

    log_density: maps (N, D) to (N,), nats; x: (B, D), floats that hold the integers 0 .. n_levels - 1. Returns (B,).
    """
    B, D = x.shape
    u = torch.rand(n_draws, B, D, dtype=x.dtype, device=x.device)
    log_p = log_density(((x + u) / n_levels).reshape(n_draws * B, D)).reshape(n_draws, B)
    log_mean = torch.logsumexp(log_p, 0) - math.log(n_draws)
    return -(log_mean - D * math.log(n_levels)) / (D * math.log(2))


# %% planar-solution
def planar_u_hat(u, w):
    """The vector of task 1.1 with w . u_hat > -1, whatever u is; u, w: (D,). Returns (D,)."""
    a = w @ u
    return u + (F.softplus(a) - 1 - a) * w / w.square().sum()


def planar_forward(x, u, w, b):
    """A planar map, with u_hat in the place of u. x: (B, D); u, w: (D,); b: (). Returns z (B, D) and logdet (B,)."""
    t = torch.tanh(x @ w + b)  # (B,)
    # 1 + m (1 - t^2) with m = softplus(a) - 1, as a sum of two positive terms
    det = t.square() + F.softplus(w @ u) * (1 - t.square())
    return x + t[:, None] * planar_u_hat(u, w), det.log()


# %% coupling-masks-solution
def coupling_mask(kind, shape, parity):
    """A mask of the shape of one sample, float32, 1 = passes. kind: "checkerboard" or "channel"; parity: 0 or 1."""
    shape = tuple(shape)
    if kind == "checkerboard":
        _, H, W = shape
        odd = (torch.arange(H)[:, None] + torch.arange(W)[None, :] + parity) % 2
        return odd.float().expand(shape).clone()
    if kind == "channel":
        mask = torch.zeros(shape)
        mask[: shape[0] // 2] = 1
        return 1 - mask if parity else mask
    raise ValueError(kind)


def squeeze(x):
    """(B, C, H, W) to (B, 4C, H/2, W/2); H and W are even."""
    B, C, H, W = x.shape
    return x.reshape(B, C, H // 2, 2, W // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(B, 4 * C, H // 2, W // 2)


def unsqueeze(x):
    """The inverse of squeeze: (B, 4C, H, W) to (B, C, 2H, 2W)."""
    B, C, H, W = x.shape
    return x.reshape(B, C // 4, 2, 2, H, W).permute(0, 1, 4, 2, 5, 3).reshape(B, C // 4, 2 * H, 2 * W)


# %% coupling-solution
def coupling_forward(x, mask, net):
    """x: (B, *); mask: the shape of x[0]; net maps (B, *) to (log_s, t), each (B, *). Returns z (B, *) and logdet (B,)."""
    mask = mask.to(x.dtype)
    log_s, t = net(mask * x)
    log_s, t = (1 - mask) * log_s, (1 - mask) * t
    return x * log_s.exp() + t, log_s.flatten(1).sum(1)


def coupling_inverse(z, mask, net):
    """The inverse map. Returns x (B, *) and its own logdet (B,)."""
    mask = mask.to(z.dtype)
    log_s, t = net(mask * z)
    log_s, t = (1 - mask) * log_s, (1 - mask) * t
    return (z - t) * (-log_s).exp(), -log_s.flatten(1).sum(1)


# %% realnvp-solution
class Flow(nn.Module):
    """A stack of invertible layers with base law N(0, I)."""

    def __init__(self, layers):
        """layers: modules with `forward` and `inverse`, in the order from data to noise."""
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        """Data x (B, *) to noise z (B, *) and logdet (B,)."""
        total = x.new_zeros(x.shape[0])
        for layer in self.layers:
            x, logdet = layer(x)
            total = total + logdet
        return x, total

    def inverse(self, z):
        """Noise z (B, *) to data x (B, *) and the logdet (B,) of this direction."""
        total = z.new_zeros(z.shape[0])
        for layer in reversed(self.layers):
            z, logdet = layer.inverse(z)
            total = total + logdet
        return z, total

    def log_prob(self, x):
        """ln p(x) in nats, (B,), summed over all dimensions of a sample."""
        z, logdet = self(x)
        z = z.flatten(1)
        return -0.5 * z.square().sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi) + logdet

    @torch.no_grad()
    def sample(self, n, shape):
        """n samples, each of the given shape: (n, *shape)."""
        return self.inverse(torch.randn(n, *shape))[0]


# %% actnorm-solution
class ActNorm(nn.Module):
    """An affine map for each channel, set from the first batch seen in training mode."""

    def __init__(self, channels):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("is_set", torch.tensor(False))

    def _broadcast(self, x):
        shape = (1, -1) + (1,) * (x.dim() - 2)
        logdet = self.log_scale.sum() * math.prod(x.shape[2:])
        return self.log_scale.view(shape), self.shift.view(shape), logdet.expand(x.shape[0])

    def _set_from(self, x):
        with torch.no_grad():
            rows = x.transpose(0, 1).flatten(1)  # (C, B * pixels)
            log_scale = -0.5 * (rows.var(1, unbiased=False) + 1e-6).log()
            self.log_scale.copy_(log_scale)
            self.shift.copy_(-rows.mean(1) * log_scale.exp())
            self.is_set.fill_(True)

    def forward(self, x):
        """x: (B, C) or (B, C, H, W). Returns z of that shape and logdet (B,)."""
        if self.training and not self.is_set:
            self._set_from(x)
        log_scale, shift, logdet = self._broadcast(x)
        return x * log_scale.exp() + shift, logdet

    def inverse(self, z):
        """The inverse map and its own logdet."""
        log_scale, shift, logdet = self._broadcast(z)
        return (z - shift) * (-log_scale).exp(), -logdet


# %% conv1x1-solution
class InvertibleConv1x1(nn.Module):
    """One learned matrix (C, C) mixes the channels at every pixel of (B, C, H, W)."""

    def __init__(self, channels):
        super().__init__()
        self.weight = nn.Parameter(torch.linalg.qr(torch.randn(channels, channels))[0])

    def matrix(self):
        """W, shape (C, C)."""
        return self.weight

    def forward(self, x):
        """x: (B, C, H, W). Returns z and logdet (B,)."""
        W = self.matrix()
        logdet = x.shape[2] * x.shape[3] * torch.linalg.slogdet(W)[1]
        return torch.einsum("ij,bjrc->birc", W, x), logdet.expand(x.shape[0])

    def inverse(self, z):
        """The inverse map and its own logdet."""
        W = self.matrix()
        logdet = -z.shape[2] * z.shape[3] * torch.linalg.slogdet(W)[1]
        return torch.einsum("ij,bjrc->birc", torch.linalg.inv(W), z), logdet.expand(z.shape[0])


# %% maf-solution
def maf_forward(x, net):
    """Data x (B, D) to noise in one call of net, which maps (B, D) to (mean, log_std). Returns z and logdet (B,)."""
    mean, log_std = net(x)
    return (x - mean) * (-log_std).exp(), -log_std.sum(1)


def maf_inverse(z, net):
    """Noise z (B, D) to data, one entry after another. Returns x and its own logdet (B,)."""
    x, logdet = torch.zeros_like(z), z.new_zeros(z.shape[0])
    for i in range(z.shape[1]):
        mean, log_std = net(x)
        entry = z[:, i] * log_std[:, i].exp() + mean[:, i]
        x = torch.cat([x[:, :i], entry[:, None], x[:, i + 1 :]], 1)
        logdet = logdet + log_std[:, i]
    return x, logdet


# %% iaf-solution
def iaf_inverse(z, net):
    """Noise z (B, D) to data in one call of net. Returns x and its own logdet (B,)."""
    mean, log_std = net(z)
    return z * log_std.exp() + mean, log_std.sum(1)


def iaf_forward(x, net):
    """Data x (B, D) to noise, one entry after another. Returns z and its own logdet (B,)."""
    z, logdet = torch.zeros_like(x), x.new_zeros(x.shape[0])
    for i in range(x.shape[1]):
        mean, log_std = net(z)
        entry = (x[:, i] - mean[:, i]) * (-log_std[:, i]).exp()
        z = torch.cat([z[:, :i], entry[:, None], z[:, i + 1 :]], 1)
        logdet = logdet - log_std[:, i]
    return z, logdet


# %% dequantise-solution
def dequantise(x, n_levels):
    """Integers 0 .. n_levels - 1, any shape, long or float, to floats (x + u) / n_levels of that shape."""
    if not x.is_floating_point():
        x = x.to(torch.get_default_dtype())
    return (x + torch.rand_like(x)) / n_levels


def logit_forward(y, alpha=0.05):
    """y (B, *) in [0, 1] to z (B, *) and logdet (B,)."""
    s = alpha + (1 - 2 * alpha) * y
    log_s, log_1s = s.log(), torch.log1p(-s)
    return log_s - log_1s, (math.log(1 - 2 * alpha) - log_s - log_1s).flatten(1).sum(1)


def logit_inverse(z, alpha=0.05):
    """z (B, *) back to y, which may leave [0, 1], and the logdet (B,) of this direction."""
    y = (torch.sigmoid(z) - alpha) / (1 - 2 * alpha)
    return y, (F.logsigmoid(z) + F.logsigmoid(-z) - math.log(1 - 2 * alpha)).flatten(1).sum(1)


# %% train-mixture-solution
class Coupling(nn.Module):
    """An affine coupling as a layer; mask: the shape of one sample."""

    def __init__(self, mask, hidden=64, dropout=0.0):
        super().__init__()
        self.register_buffer("mask", mask)
        n = mask.numel()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(n, hidden), nn.ReLU(), nn.Dropout(dropout),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, 2 * n),
        )
        nn.init.zeros_(self.body[-1].weight)
        nn.init.zeros_(self.body[-1].bias)

    def net(self, h):
        log_s, t = self.body(h).chunk(2, dim=1)
        return 2 * torch.tanh(log_s.reshape(h.shape) / 2), t.reshape(h.shape)

    def forward(self, x):
        return coupling_forward(x, self.mask, self.net)

    def inverse(self, z):
        return coupling_inverse(z, self.mask, self.net)


def make_mixture_flow():
    """A new, untrained flow for points in the plane."""
    return Flow([Coupling(coupling_mask("channel", (2,), i % 2)) for i in range(8)])


def fit_flow(flow, x, steps, batch_size=256, lr=5e-3, prepare=lambda batch: batch):
    """Train flow in place on random batches of x, each sent through `prepare` first.

    Returns the list of losses, one number (nats per sample) for each step.
    """
    flow.train()
    optimiser = torch.optim.Adam(flow.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=lr, total_steps=steps)
    losses = []
    for _ in range(steps):
        batch = prepare(x[torch.randint(len(x), (batch_size,))])
        loss = -flow.log_prob(batch).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(flow.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    flow.eval()
    return losses


# %% train-mixture-run
# Bind the trained flow to `mixture_flow` and the list of losses to `mixture_losses`.
with when_written():
    torch.manual_seed(0)
    mixture_flow = make_mixture_flow()
    mixture_losses = fit_flow(mixture_flow, mixture_train, steps=1500)


# %% train-digits-solution
class Logit(nn.Module):
    def forward(self, y):
        return logit_forward(y)

    def inverse(self, z):
        return logit_inverse(z)


class Standardise(nn.Module):
    """A fixed affine map of each pixel; mean, std: the shape of one sample."""

    def __init__(self, mean, std):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x):
        return (x - self.mean) / self.std, -self.std.log().sum().expand(x.shape[0])

    def inverse(self, z):
        return z * self.std + self.mean, self.std.log().sum().expand(z.shape[0])


def make_digits_flow():
    """A new, untrained flow for dequantised digits y in [0, 1], (B, 1, 8, 8)."""
    logits = logit_forward(dequantise(digits_train[:5400], LEVELS))[0]
    couplings = [Coupling(coupling_mask("checkerboard", (1, 8, 8), i % 2), hidden=256, dropout=0.1) for i in range(8)]
    return Flow([Logit(), Standardise(logits.mean(0), logits.std(0)), *couplings])


# %% train-digits-run
# Bind the trained flow to `digits_flow` and the list of losses to `digits_losses`.
with when_written():
    torch.manual_seed(0)
    digits_flow = make_digits_flow()
    digits_losses = fit_flow(digits_flow, digits_train[:5400], steps=600, batch_size=128, lr=2e-3,
                             prepare=lambda x: dequantise(x, LEVELS))
    torch.save(digits_flow.state_dict(), "digits_flow.pt")
