"""A whole notebook solved by somebody who had the release alone: in the order of the text, as its hints say."""

# %% theory-langevin-code-solution
def langevin_variance(sigma2, step_size, n_steps, start_variance):
    """Variance after n_steps Langevin steps with the exact score of N(0, sigma2), from N(0, start_variance); floats."""
    a = 1 - step_size / (2 * sigma2)
    variance = start_variance
    for _ in range(n_steps):
        variance = a**2 * variance + step_size
    return variance

# %% theory-dsm-code-solution
def dsm_floor(cov, sigma):
    """The least loss E |s(y) + noise/sigma|², summed over dimensions, for data N(0, cov); cov (D, D), sigma a float."""
    D = cov.shape[0]
    noisy = cov + sigma**2 * torch.eye(D, dtype=cov.dtype)
    return D / sigma**2 - torch.linalg.inv(noisy).trace()

# %% theory-posterior-code-solution
def posterior(x_0, x_t, abar_s, abar_t):
    """Mean (shape of x) and variance (a number) of q(x_s | x_0, x_t), for s before t; abar_s, abar_t are floats."""
    a = abar_t / abar_s
    mean = math.sqrt(abar_s) * (1 - a) / (1 - abar_t) * x_0 + math.sqrt(a) * (1 - abar_s) / (1 - abar_t) * x_t
    variance = (1 - abar_s) * (1 - a) / (1 - abar_t)
    return mean, variance

# %% theory-guidance-code-solution
def guided_gaussian(m_c, s_c, m_u, s_u, w):
    """Mean and standard deviation of the density that guidance of weight w stands for; all are floats.

    m_c, s_c: of the conditional law; m_u, s_u: of the unconditional one.
    """
    p_u, p_c = (1 - w) / s_u**2, w / s_c**2
    precision = p_u + p_c
    return (p_u * m_u + p_c * m_c) / precision, 1 / math.sqrt(precision)

# %% langevin-solution
def mixture_score(x, means, stds, weights):
    """Gradient of ln p at x (B, D), for the mixture of N(means[k], stds[k]² I); means (K, D), stds and weights (K,)."""
    means, stds, weights = means.to(x.dtype), stds.to(x.dtype), weights.to(x.dtype)
    away = means - x[:, None]  # (B, K, D)
    D = x.shape[1]
    logits = weights.log() - D * stds.log() - away.square().sum(2) / (2 * stds**2)  # (B, K)
    r = torch.softmax(logits, 1)
    return ((r / stds**2)[:, :, None] * away).sum(1)


def langevin_chain(x, score, step_size, n_steps):
    """x (B, *) after n_steps of Langevin dynamics along score(x)."""
    with torch.no_grad():
        x = x.detach().clone()
        for _ in range(n_steps):
            x = x + step_size / 2 * score(x) + math.sqrt(step_size) * torch.randn_like(x)
    return x

# %% ebm-solution
def contrastive_loss(energy, data, samples, reg=0.0):
    """Mean energy of data less that of samples, and a penalty on squared energies; energy: (B, *) to (B,)."""
    e_data, e_samples = energy(data), energy(samples.detach())
    return e_data.mean() - e_samples.mean() + reg * (e_data.square().mean() + e_samples.square().mean())


def negative_samples(energy, x, step_size, n_steps):
    """x (B, *) after n_steps of Langevin dynamics for p proportional to exp(-energy)."""
    x = x.detach().clone()
    for _ in range(n_steps):
        with torch.enable_grad():
            leaf = x.clone().requires_grad_()
            slope = torch.autograd.grad(energy(leaf).sum(), leaf)[0]
        x = x - step_size / 2 * slope + math.sqrt(step_size) * torch.randn_like(x)
    return x

# %% dsm-solution
def dsm_loss(score, x, sigma, noise):
    """Denoising score matching at one level of noise: sum over dimensions, mean over the batch; noise: shape of x."""
    return (score(x + sigma * noise) + noise / sigma).square().flatten(1).sum(1).mean()


def sliced_loss(score, x, v):
    """Sliced score matching along v (shape of x): sum over dimensions, mean over the batch."""
    leaf = x.detach().clone().requires_grad_()
    along = (v * score(leaf)).flatten(1).sum(1)
    slope = torch.autograd.grad(along.sum(), leaf, create_graph=True)[0]
    return ((v * slope).flatten(1).sum(1) + along.square() / 2).mean()

# %% ncsn-solution
def ncsn_loss(model, x, sigmas):
    """Denoising score matching at random levels, weighted by sigma²; model(x, sigma) is a score; sigmas: list of floats."""
    levels = torch.tensor(sigmas, dtype=x.dtype)
    sigma = levels[torch.randint(len(sigmas), (len(x),))]
    wide = sigma.view(-1, *[1] * (x.dim() - 1))
    noise = torch.randn_like(x)
    return (wide * model(x + wide * noise, sigma) + noise).square().flatten(1).sum(1).mean()


def annealed_langevin(model, x, sigmas, n_steps, eps):
    """x (B, *) after n_steps Langevin steps of size eps sigma²/sigmas[-1]² at each level, from large to small."""
    with torch.no_grad():
        x = x.detach().clone()
        for sigma in sigmas:
            size = eps * sigma**2 / sigmas[-1] ** 2
            told = torch.full((len(x),), sigma, dtype=x.dtype)
            for _ in range(n_steps):
                x = x + size / 2 * model(x, told) + math.sqrt(size) * torch.randn_like(x)
    return x

# %% schedule-solution
def abar_at(betas, t, x):
    """The share of signal kept at indices t (B,), each -1 .. T-1, as (B, 1, .., 1) in the dtype of x (B, *)."""
    table = torch.cat([torch.ones(1, dtype=torch.float64), torch.cumprod(1 - betas.double(), 0)])
    return table[t + 1].view(-1, *[1] * (x.dim() - 1)).to(x.dtype)


def cosine_betas(n, s=0.008, largest=0.999):
    """The cosine schedule of n steps, (n,), float64."""
    u = torch.arange(n + 1, dtype=torch.float64) / n
    f = torch.cos(math.pi / 2 * (u + s) / (1 + s)) ** 2
    return (1 - f[1:] / f[:-1]).clamp(max=largest)


def q_sample(x_0, t, betas, noise):
    """x_t for clean data x_0 (B, *), times t (B,) and given noise, shape of x_0."""
    abar = abar_at(betas, t, x_0.double())
    return (abar.sqrt() * x_0 + (1 - abar).sqrt() * noise).to(x_0.dtype)

# %% ddpm-reverse-solution
def reverse_mean_variance(x_t, t, noise, betas):
    """Mean (B, *) and variance (B, 1, .., 1) of x_{t-1} given x_t (B, *), t (B,) and the predicted noise."""
    wide = x_t.double()
    abar_t, abar_s = abar_at(betas, t, wide), abar_at(betas, t - 1, wide)
    a = 1 - betas.double()[t].view_as(abar_t)
    x_0 = (wide - (1 - abar_t).sqrt() * noise) / abar_t.sqrt()
    mean = (abar_s.sqrt() * (1 - a) * x_0 + a.sqrt() * (1 - abar_s) * wide) / (1 - abar_t)
    variance = (1 - abar_s) * (1 - a) / (1 - abar_t)
    return mean.to(x_t.dtype), variance.to(x_t.dtype)

# %% ddpm-loss-solution
def ddpm_loss(model, x_0, betas):
    """Mean squared error of the predicted noise, at random times; model(x, t) predicts the noise, x_0: (B, *)."""
    t = torch.randint(len(betas), (len(x_0),))
    noise = torch.randn_like(x_0)
    return (model(q_sample(x_0, t, betas, noise), t) - noise).square().mean()

# %% ddpm-sample-solution
def ddpm_sample(model, x_T, betas):
    """Samples (B, *) from x_T (B, *), which lies at index T-1, by T steps with the posterior's variance."""
    with torch.no_grad():
        x = x_T.detach().clone()
        for index in reversed(range(len(betas))):
            t = torch.full((len(x),), index)
            mean, variance = reverse_mean_variance(x, t, model(x, t), betas)
            x = mean + variance.sqrt() * torch.randn_like(x) if index > 0 else mean
    return x

# %% ddim-solution
def ddim_sample(model, x_T, betas, steps, eta):
    """Samples (B, *) from x_T, which lies at index steps[-1], by jumps along the increasing list `steps`."""
    table = [1.0] + torch.cumprod(1 - betas.double(), 0).tolist()
    with torch.no_grad():
        x = x_T.detach().clone()
        before = [-1, *steps[:-1]]
        for now, last in zip(reversed(steps), reversed(before)):
            abar, abar_last = table[now + 1], table[last + 1]
            noise = model(x, torch.full((len(x),), now))
            x_0 = (x - math.sqrt(1 - abar) * noise) / math.sqrt(abar)
            variance = eta**2 * (1 - abar_last) / (1 - abar) * (1 - abar / abar_last)
            x = math.sqrt(abar_last) * x_0 + math.sqrt(max(1 - abar_last - variance, 0.0)) * noise
            if variance > 0:
                x = x + math.sqrt(variance) * torch.randn_like(x)
    return x

# %% cfg-solution
def cfg_loss(model, x_0, y, betas, n_classes, p):
    """The DDPM loss of model(x, t, y), each label y (B,) replaced by n_classes with probability p."""
    dropped = torch.rand(len(y)) < p
    shown = torch.where(dropped, n_classes, y)
    return ddpm_loss(lambda x, t: model(x, t, shown), x_0, betas)


def guided_noise(model, x, t, y, n_classes, w):
    """The guided prediction of the noise, shape of x: unconditional at w = 0, conditional at w = 1."""
    without = model(x, t, torch.full_like(y, n_classes))
    return without + w * (model(x, t, y) - without)


def cfg_sample(model, x_T, y, betas, n_classes, w):
    """Samples of the labels y (B,) from x_T (B, *) at index T-1, with guidance of weight w."""
    return ddpm_sample(lambda x, t: guided_noise(model, x, t, y, n_classes, w), x_T, betas)

# %% train-mixture-solution
class PlaneDenoiser(nn.Module):
    """Predicts the noise in points of the plane."""

    def __init__(self, width=128):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2 + 16, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, 2),
        )

    def forward(self, x, t):
        return self.net(torch.cat([x, time_features(t, 100, 16).to(x.dtype)], 1))


def make_mixture_denoiser():
    """A new, untrained network for points in the plane; choose its sizes."""
    return PlaneDenoiser()


def fit_ddpm(model, x_0, betas, steps, batch_size, lr):
    """Train any model(x, t) in place on random rows of x_0; returns the list of losses, a number for each step."""
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps + 1)
    losses = []
    model.train()
    for _ in range(steps):
        batch = x_0[torch.randint(len(x_0), (batch_size,))]
        loss = ddpm_loss(model, batch, betas)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    model.eval()
    return losses

# %% train-mixture-run
# Bind the trained network to `mixture_model` and the list of losses to `mixture_losses`.
with when_written():
    torch.manual_seed(0)
    mixture_model = make_mixture_denoiser()
    mixture_losses = fit_ddpm(mixture_model, mixture_train, MIXTURE_BETAS, steps=3000, batch_size=256, lr=5e-3)

# %% train-digits-solution
class DigitsDenoiser(nn.Module):
    """Predicts the noise in digits."""

    def __init__(self, width=256, depth=3):
        super().__init__()
        self.first = nn.Linear(64 + 32, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)) for _ in range(depth)
        )
        self.last = nn.Linear(width, 64)

    def forward(self, x, t):
        abar = abar_at(DIGITS_BETAS, t, x)
        h = self.first(torch.cat([x.flatten(1), time_features(t, 200, 32).to(x.dtype)], 1))
        for block in self.blocks:
            h = h + block(F.silu(h))
        g = self.last(F.silu(h)).view_as(x)
        x_0 = torch.tanh(g + abar.sqrt() * x / (1 - abar))
        return (x - abar.sqrt() * x_0) / (1 - abar).sqrt()


def make_digits_denoiser():
    """A new, untrained network for noisy digits (B, 1, 8, 8); choose its sizes."""
    return DigitsDenoiser()

# %% train-digits-run
# Bind the trained network to `digits_model` and the list of losses to `digits_losses`.
with when_written():
    torch.manual_seed(0)
    digits_model = make_digits_denoiser()
    digits_losses = fit_ddpm(digits_model, digits_train, DIGITS_BETAS, steps=1500, batch_size=128, lr=3e-3)
    torch.save(digits_model.state_dict(), "digits_model.pt")
