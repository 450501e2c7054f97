"""A stranger: named tuples, lambdas, a callable object, vmap, bound in chunks, a lazy encoder that returns a list, moving averages of weights."""

# %% theory-ppca-solution
from dataclasses import dataclass
from functools import partial, reduce
from typing import NamedTuple


@dataclass(frozen=True)
class Diagonal:
    """Normal laws with a mean and a log_std, entry by entry."""

    mean: torch.Tensor
    log_std: torch.Tensor

    @classmethod
    def of(cls, mean, log_std):
        return cls(torch.as_tensor(mean), torch.as_tensor(log_std))

    @classmethod
    def of_encoder(cls, encoder, x):
        mean, log_std = encoder(x)
        return cls(mean, log_std)

    def nll(self, x):
        return 0.5 * math.log(2 * math.pi) + self.log_std + 0.5 * (x - self.mean) ** 2 * torch.exp(-2 * self.log_std)

    def draw(self):
        mean, log_std = torch.broadcast_tensors(self.mean, self.log_std)
        return mean + log_std.exp() * torch.empty_like(mean).normal_()

    def __getitem__(self, rows):
        return Diagonal(self.mean[rows], self.log_std[rows])

    def kl(self, other):
        a, b = self, other
        return b.log_std - a.log_std - 0.5 + 0.5 * ((2 * (a.log_std - b.log_std)).exp() + ((a.mean - b.mean) * (-b.log_std).exp()) ** 2)


STANDARD = Diagonal.of(0.0, 0.0)


class Fit(NamedTuple):
    W: torch.Tensor
    rates: torch.Tensor


class Mixture(NamedTuple):
    weights: torch.Tensor
    means: torch.Tensor
    covs: torch.Tensor

    def log_parts(self, x):
        def one(weight, mean, cov):
            factor = torch.linalg.cholesky(cov)
            y = torch.linalg.solve_triangular(factor, (x - mean).T, upper=False)
            return weight.log() - 0.5 * (y * y).sum(0) - factor.diagonal().log().sum() - 0.5 * len(mean) * math.log(2 * math.pi)

        return torch.func.vmap(one)(*self).T


class Posterior(NamedTuple):
    mean: torch.Tensor
    cov: torch.Tensor


def ppca_posterior(x, W, mu, sigma):
    """By the singular values of W: in their axes every dimension is a pPCA of its own, and the rest is the prior."""
    _, s, Vh = torch.linalg.svd(W, full_matrices=True)
    full = torch.zeros(W.shape[1], dtype=W.dtype)
    full[: len(s)] = s
    cov = Vh.mT @ torch.diag(sigma**2 / (full**2 + sigma**2)) @ Vh
    mean = torch.func.vmap(lambda row: Vh.mT @ ((Vh @ (W.mT @ (row - mu))) / (full**2 + sigma**2)))(x)
    return Posterior(mean, cov)


def ppca_log_prob(x, W, mu, sigma):
    """ln p(x) = ln p(x | z) + ln p(z) - ln p(z | x) at any z: here z is the posterior mean."""
    mean, cov = ppca_posterior(x, W, mu, sigma)
    log_sigma = torch.as_tensor(sigma, dtype=x.dtype).log()
    likelihood = -Diagonal.of(mean @ W.mT + mu, log_sigma).nll(x).sum(1)
    return likelihood - STANDARD.nll(mean).sum(1) + 0.5 * torch.logdet(2 * math.pi * cov)

# %% theory-rate-solution
def ppca_fit(covariance, sigma2):
    values, vectors = map(lambda part: part.flip(-1), torch.linalg.eigh(covariance))
    alive = values > sigma2
    scale = torch.where(alive, values - sigma2, 0.0).sqrt()
    return Fit(W=vectors @ scale.diag(), rates=torch.where(alive, values.clamp(min=1e-30).log() - math.log(sigma2), 0.0) / 2)

# %% theory-surgery-code-solution
def elbo_surgery(q, p):
    bar = q.mean(dim=0)
    total = F.kl_div(p.log().expand_as(q), q, reduction="batchmean")  # the mean of KL(q_n || p)
    marginal = F.kl_div(p.log(), bar, reduction="sum")
    return marginal, total - marginal

# %% em-solution
def gmm_log_prob(x, weights, means, covs):
    return Mixture(weights, means, covs).log_parts(x).logsumexp(-1)


def e_step(x, weights, means, covs):
    return F.softmax(Mixture(weights, means, covs).log_parts(x), dim=-1)


def m_step(x, resp, shared=False):
    total = resp.sum(0)

    def one(r):
        mean = r @ x / r.sum()
        return mean, (r[:, None] * (x - mean)).T @ (x - mean) / r.sum()

    means, covs = torch.func.vmap(one)(resp.T)
    if shared:  # E x x^T less the mean square of the means, since the means are weighted alike
        centre = x.mean(0)
        within = torch.cov(x.T, correction=0).reshape(covs[0].shape)
        between = torch.einsum("k,ki,kj->ij", total / len(x), means - centre, means - centre)
        covs = torch.stack([within - between] * len(total))
    return Mixture(total / len(x), means, covs)


def fit_gmm(x, weights, means, covs, n_steps):
    path = reduce(lambda found, _: [*found, m_step(x, e_step(x, *found[-1]))], range(n_steps), [Mixture(weights, means, covs)])
    return (*path[-1], [float(gmm_log_prob(x, *theta).mean()) for theta in path])

# %% gaussians-solution
normal_kl = lambda mean_1, log_std_1, mean_2=0.0, log_std_2=0.0: Diagonal.of(mean_1, log_std_1).kl(Diagonal.of(mean_2, log_std_2))
normal_nll = lambda x, mean, log_std: Diagonal.of(mean, log_std).nll(x)
reparametrise = lambda mean, log_std: Diagonal.of(mean, log_std).draw()

# %% elbo-solution
class Bound:
    """A callable object that keeps nothing between calls."""

    def __call__(self, x, encoder, log_likelihood):
        q = Diagonal.of_encoder(encoder, x)
        return log_likelihood(x, q.draw()) - q.kl(STANDARD).sum(1)


elbo = Bound()


def vae_loss(x, encoder, log_likelihood, beta=1.0):
    q = Diagonal.of_encoder(encoder, x)
    found = torch.stack([log_likelihood(x, q.draw()), q.kl(STANDARD).sum(1)]).mean(1)
    return {"loss": found @ found.new_tensor([-1.0, beta]), "reconstruction": found[0], "kl": found[1]}


def bernoulli_log_likelihood(logits, x):
    """x l - softplus(l)."""
    return (x * logits - torch.logaddexp(logits, torch.zeros_like(logits))).sum(tuple(range(1, logits.dim())))

# %% iwae-solution
def iwae_bound(x, encoder, log_likelihood, k):
    """Every image k times in a row; chunks of at most 50 rows; the encoder sees the repeated rows."""
    rows = x.repeat_interleave(k, dim=0)
    q = Diagonal.of_encoder(encoder, rows)
    z = q.draw()
    likelihood = torch.cat([log_likelihood(*part) for part in zip(rows.split(50), z.split(50))])
    log_w = likelihood + (q.nll(z) - STANDARD.nll(z)).sum(1)
    return torch.logsumexp(log_w.view(-1, k), 1).sub(math.log(k))

# %% vamp-solution
def vamp_log_prob(z, encoder, pseudo_inputs):
    q = Diagonal.of_encoder(encoder, pseudo_inputs)
    log_parts = torch.func.vmap(lambda row: -q.nll(row).sum(-1))(z)
    return (log_parts.log_softmax(1) - log_parts).mean(1).neg() - math.log(log_parts.shape[1])


def vamp_sample(n, encoder, pseudo_inputs):
    """Drawn one row after another."""
    q = Diagonal.of_encoder(encoder, pseudo_inputs)
    K = len(pseudo_inputs)
    return torch.stack([q[int(torch.rand((), dtype=torch.float64) * K)].draw() for _ in range(n)])

# %% vq-solution
def nearest_codes(z, codebook):
    """|z - e|^2 less |z|^2, in float64."""
    score = torch.einsum("bdhw,kd->bhwk", z.double(), codebook.double())
    return (codebook.double().square().sum(1) - 2 * score).min(-1).indices


def _pick(z, codebook):
    return codebook.index_select(0, nearest_codes(z, codebook).flatten()).view(z.shape[0], *z.shape[2:], -1).movedim(3, 1)


class Quantiser(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, codebook):
        return _pick(z, codebook).contiguous()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


quantise = Quantiser.apply


def vq_losses(z, codebook):
    return tuple(F.mse_loss(a, b) for a, b in ((_pick(z, codebook), z.detach()), (_pick(z, codebook.detach()), z)))

# %% vq-ema-solution
class Codebook(NamedTuple):
    counts: torch.Tensor
    sums: torch.Tensor
    codebook: torch.Tensor


def ema_update(counts, sums, z, codes, decay):
    new_counts, new_sums = counts.clone(), sums.clone()
    for k in range(len(counts)):
        here = z.movedim(1, -1)[codes == k]  # (n_k, D), perhaps none
        new_counts[k] = decay * counts[k] + (1 - decay) * len(here)
        new_sums[k] = decay * sums[k] + (1 - decay) * here.sum(0)
    return Codebook(new_counts, new_sums, new_sums / new_counts[:, None])


def perplexity(codes, n_codes):
    frequencies = torch.histc(codes.double(), bins=n_codes, min=-0.5, max=n_codes - 0.5) / codes.numel()
    return torch.distributions.Categorical(probs=frequencies).perplexity()

# %% gumbel-solution
def gumbel_softmax(logits, tau, hard=False, u=None):
    """The noise is made in float64, where an exact 0 is hardly ever drawn."""
    u = torch.rand(logits.shape, dtype=torch.float64) if u is None else u
    y = F.softmax((logits - torch.log(-torch.log(u)).to(logits.dtype)).div(tau), 1)
    if hard:
        first = y.max(1, keepdim=True).indices
        y = y + ((torch.arange(y.shape[1]) == first).to(y.dtype) - y).detach()
    return y

# %% train-vae-solution
class VAE(nn.Module):
    """Encoder and decoder in one module, so that their weights are kept together."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder


def make_vae():
    """A new, untrained VAE."""
    return VAE(make_encoder(), make_decoder())


class LazyEncoder(nn.Module):
    """Widths of inputs are found out at the first call."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.LazyLinear(200), nn.LeakyReLU(0.1), nn.LazyLinear(200), nn.LeakyReLU(0.1))
        self.heads = nn.ModuleDict({"mean": nn.LazyLinear(20), "log_std": nn.LazyLinear(20)})

    def forward(self, x):
        h = self.body(2 * x - 1)
        return [head(h) for head in self.heads.values()]


class ShuffleDecoder(nn.Module):
    """Four channels of 4 x 4 become 8 x 8; the buffer holds the logits of the mean picture."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(20, 200), nn.LeakyReLU(0.1), nn.Linear(200, 200), nn.LeakyReLU(0.1), nn.Linear(200, 64))
        self.register_buffer("base", torch.zeros(1, 1, 8, 8))

    def forward(self, z):
        return self.base + F.pixel_shuffle(self.body(z).unflatten(1, (4, 4, 4)), 2)


make_encoder, make_decoder = LazyEncoder, ShuffleDecoder


def fit_vae(images):
    """KL warmed up over 300 steps, RAdam, and at the end the moving average of the weights."""
    vae = make_vae()
    vae.decoder.base.copy_(images.mean(0, keepdim=True).clamp(0.02, 0.98).logit())
    vae.encoder(images[:2])  # builds the lazy layers
    mean_vae = torch.optim.swa_utils.AveragedModel(vae, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995))
    optimiser = torch.optim.RAdam(vae.parameters(), lr=2e-3)
    steps, history = 4000, []
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.05, steps)
    for step in range(steps):
        log_lik, kl = bound_terms(images[torch.randperm(len(images))[:128]], vae.encoder, vae.decoder)
        optimiser.zero_grad()
        (min(1.0, 0.2 + step / 300) * kl - log_lik).mean().backward()
        optimiser.step()
        schedule.step()
        mean_vae.update_parameters(vae)
        history.append(float((kl - log_lik).mean()))
    return mean_vae.module.encoder.eval(), mean_vae.module.decoder.eval(), history


def bound_terms(x, encoder, decoder):
    q = Diagonal.of_encoder(encoder, x)
    return bernoulli_log_likelihood(decoder(q.draw()), x), q.kl(STANDARD).sum(1)
