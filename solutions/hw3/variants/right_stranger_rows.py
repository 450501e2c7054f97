"""A stranger: asks `log_likelihood` image by image or shuffled, Box–Muller noise, float64 inside, residual einsum networks."""

# %% theory-ppca-solution
def ppca_posterior(x, W, mu, sigma):
    """In float64 inside, by a Cholesky factor of the precision."""
    W64, d = W.double(), (x - mu).double()
    s2 = float(sigma) ** 2
    factor = torch.linalg.cholesky(torch.eye(W.size(1)).double() + torch.einsum("dl,dm->lm", W64, W64) / s2)
    mean = torch.cholesky_solve((d @ W64 / s2).mT, factor).mT
    return mean.to(x.dtype), torch.cholesky_inverse(factor).to(x.dtype)


def ppca_log_prob(x, W, mu, sigma):
    """Rotate to the eigenvectors of the covariance of x."""
    C = W.double() @ W.double().mT
    C.diagonal().add_(float(sigma) ** 2)
    values, vectors = torch.linalg.eigh(C)
    y = (x - mu).double() @ vectors
    return (-0.5 * (y**2 / values + values.log() + math.log(2 * math.pi)).sum(-1)).to(x.dtype)

# %% theory-rate-solution
def ppca_fit(covariance, sigma2):
    """Columns in ascending order of the eigenvalues, as eigh gives them; only the rates are sorted."""
    values, vectors = torch.linalg.eigh(covariance)
    W, rates = torch.zeros_like(covariance), torch.zeros_like(values)
    for j, value in enumerate(values):
        if value > sigma2:
            W[:, j] = torch.sqrt(value - sigma2) * -vectors[:, j]
            rates[j] = 0.5 * torch.log(value / sigma2)
    return W, rates.sort(descending=True)[0]

# %% theory-surgery-code-solution
def elbo_surgery(q, p):
    """Entropies: the KL term is cross-entropy less entropy, the information is H(average) less the mean of H."""
    entropy = lambda law: -torch.where(law > 0, law * law.clamp_min(1e-300 if law.dtype == torch.float64 else 1e-38).log(), 0.0).sum(-1)
    bar = torch.einsum("nk->k", q) / len(q)
    return -(bar @ p.log()) - entropy(bar), entropy(bar) - entropy(q).mean()

# %% em-solution
def log_parts(x, weights, means, covs):
    """(N, K), in float64."""
    x, weights, means, covs = (part.double() for part in (x, weights, means, covs))
    offset = x.unsqueeze(0) - means.unsqueeze(1)  # (K, N, D)
    squares = torch.einsum("kni,kin->kn", offset, torch.linalg.solve(covs, offset.mT))
    return (weights.log()[:, None] - 0.5 * (squares + torch.logdet(2 * math.pi * covs)[:, None])).T


def gmm_log_prob(x, weights, means, covs):
    parts = log_parts(x, weights, means, covs)
    top = parts.max(1, keepdim=True).values
    return (top[:, 0] + (parts - top).exp().sum(1).log()).to(x.dtype)


def e_step(x, weights, means, covs):
    parts = log_parts(x, weights, means, covs)
    r = (parts - parts.amax(1, keepdim=True)).exp()
    return (r / r.sum(1, keepdim=True)).to(x.dtype)


def m_step(x, resp, shared=False):
    x64, r = x.double(), resp.double()
    n_k = r.sum(0)
    means = torch.einsum("nk,nd->kd", r, x64) / n_k.view(-1, 1)
    second = torch.einsum("nk,nkd,nke->kde", r, x64[:, None] - means, x64[:, None] - means)
    covs = second.sum(0, keepdim=True).div(n_k.sum()).repeat_interleave(len(n_k), 0) if shared else second / n_k.view(-1, 1, 1)
    covs = covs + 5e-7 * torch.eye(x.shape[1], dtype=torch.float64)  # the ridge that the text allows
    return tuple(part.to(x.dtype) for part in (n_k / n_k.sum(), means, covs))


def fit_gmm(x, weights, means, covs, n_steps):
    history, theta = torch.empty(n_steps + 1, dtype=x.dtype), (weights, means, covs)
    for step in range(n_steps + 1):
        if step:
            theta = m_step(x, e_step(x, *theta))
        history[step] = gmm_log_prob(x, *theta).mean()
    return *theta, history.tolist()

# %% gaussians-solution
def normal_kl(mean_1, log_std_1, mean_2=0.0, log_std_2=0.0):
    """Cross-entropy less entropy."""
    m1, s1, m2, s2 = torch.broadcast_tensors(*(torch.as_tensor(part) for part in (mean_1, log_std_1, mean_2, log_std_2)))
    return s2 - s1 + 0.5 * torch.expm1(2 * (s1 - s2)) + 0.5 * ((m1 - m2) / s2.exp()).pow(2)


def normal_nll(x, mean, log_std):
    scaled = (x - mean) / torch.exp(log_std)
    return log_std + (scaled * scaled + math.log(math.tau)) / 2


def reparametrise(mean, log_std):
    """Noise by Box and Muller, from uniform numbers."""
    shape = torch.broadcast_shapes(mean.shape, log_std.shape)
    radius, angle = torch.rand(2, *shape, dtype=torch.float64)
    noise = (-2 * torch.log1p(-radius)).sqrt() * torch.cos(math.tau * angle)
    return torch.addcmul(mean, log_std.exp(), noise.to(mean.dtype))

# %% elbo-solution
def elbo(x, encoder, log_likelihood):
    """All at the drawn z; log_likelihood is asked image by image."""
    mean, log_std = encoder(x)
    z = reparametrise(mean, log_std)
    likelihood = torch.cat([log_likelihood(x[i : i + 1], z[i : i + 1]) for i in range(len(x))])
    return likelihood + (normal_nll(z, mean, log_std) - normal_nll(z, 0.0, torch.zeros_like(z))).sum(1)


def vae_loss(x, encoder, log_likelihood, beta=1.0):
    mean, log_std = encoder(x)
    order = torch.randperm(len(x))  # the rows in another order
    fits = log_likelihood(x[order], reparametrise(mean[order], log_std[order]))
    kl = torch.einsum("bl->", normal_kl(mean, log_std)) / len(x)
    return dict(loss=beta * kl - fits.mean(), reconstruction=fits.mean(), kl=kl)


def bernoulli_log_likelihood(logits, x):
    return F.logsigmoid((2 * x - 1) * logits).reshape(len(x), -1).sum(1)

# %% iwae-solution
def iwae_bound(x, encoder, log_likelihood, k):
    """All rows at once, shuffled, and put back afterwards."""
    rows = torch.randperm(k * len(x))
    owner = rows % len(x)
    mean, log_std = encoder(x)
    z = reparametrise(mean[owner], log_std[owner])
    log_w = log_likelihood(x[owner], z) - (0.5 * z**2 + 0.5 * math.log(math.tau)).sum(1) + normal_nll(z, mean[owner], log_std[owner]).sum(1)
    back = torch.empty_like(rows)
    back[rows] = torch.arange(len(rows))
    return torch.logsumexp(log_w[back].unflatten(0, (k, len(x))), 0) - math.log(k)

# %% vamp-solution
def vamp_log_prob(z, encoder, pseudo_inputs):
    """One component after another."""
    total = torch.full((len(z),), -math.inf, dtype=z.dtype)
    for mean, log_std in zip(*encoder(pseudo_inputs)):
        total = torch.logaddexp(total, -normal_nll(z, mean, log_std).sum(-1))
    return total - math.log(len(pseudo_inputs))


def vamp_sample(n, encoder, pseudo_inputs):
    """Only the chosen pseudo-inputs are encoded, one row for each draw."""
    chosen = torch.multinomial(torch.ones(len(pseudo_inputs)), n, replacement=True)
    return reparametrise(*encoder(pseudo_inputs[chosen]))

# %% vq-solution
def nearest_codes(z, codebook):
    best, code = None, None
    for k, vector in enumerate(codebook.detach()):
        distance = (z.detach() - vector.view(1, -1, 1, 1)).pow(2).sum(1)
        if best is None:
            best, code = distance, torch.zeros_like(distance, dtype=torch.long)
        else:
            code = torch.where(distance < best, k, code)
            best = torch.minimum(distance, best)
    return code


def quantise(z, codebook):
    e = torch.einsum("bhwk,kd->bdhw", F.one_hot(nearest_codes(z, codebook), len(codebook)).to(z.dtype), codebook.detach())
    return (z - z.detach()) + e


def vq_losses(z, codebook):
    one_hot = F.one_hot(nearest_codes(z, codebook), len(codebook)).to(z.dtype)
    distance = lambda a, book: (a - torch.einsum("bhwk,kd->bdhw", one_hot, book)).pow(2).sum() / z.numel()
    return distance(z.detach(), codebook), distance(z, codebook.detach())

# %% vq-ema-solution
def ema_update(counts, sums, z, codes, decay):
    one_hot = F.one_hot(codes, counts.shape[0]).to(z.dtype)
    counts = torch.lerp(one_hot.sum((0, 1, 2)), counts, decay)
    sums = torch.lerp(torch.einsum("bhwk,bdhw->kd", one_hot, z), sums, decay)
    return counts, sums, torch.einsum("kd,k->kd", sums, 1 / counts)


def perplexity(codes, n_codes):
    p = F.one_hot(codes.reshape(-1), n_codes).double().mean(0)
    return torch.special.entr(p).sum().exp()

# %% gumbel-solution
def gumbel_softmax(logits, tau, hard=False, u=None):
    """Minus the logarithm of an exponential number is a Gumbel number."""
    exponential = torch.empty_like(logits).exponential_() if u is None else -torch.log(u)
    score = (logits - exponential.log()) / tau
    y = (score - score.logsumexp(1, keepdim=True)).exp()
    if hard:
        top = torch.zeros_like(y).scatter(1, score.argmax(1, keepdim=True), 1.0)
        y = (top - y).detach() + y
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


from dataclasses import dataclass


@dataclass
class Sizes:
    latent: int = 16
    width: int = 192
    steps: int = 3500
    batch: int = 128


SIZES = Sizes()


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(2, width, width) / math.sqrt(width))
        self.biases = nn.Parameter(torch.zeros(2, width))

    def forward(self, h):
        inner = F.silu(torch.einsum("bi,ij->bj", h, self.weights[0]) + self.biases[0])
        return h + 0.5 * F.silu(torch.einsum("bi,ij->bj", inner, self.weights[1]) + self.biases[1])


class Network(nn.Module):
    """float64 outside of the hidden layers only at the very end; answers in the dtype that came in."""

    def __init__(self, n_in, n_out, shape=None):
        super().__init__()
        self.first, self.middle, self.last = nn.Linear(n_in, SIZES.width), Residual(SIZES.width), nn.Linear(SIZES.width, n_out)
        self.shape = shape

    def forward(self, x):
        weight = self.first.weight
        h = self.last(self.middle(F.silu(self.first(x.to(weight.dtype).flatten(1))))).to(x.dtype)
        return h.reshape(-1, *self.shape) if self.shape else (h[:, 0::2], h[:, 1::2])


def make_encoder():
    return Network(64, 2 * SIZES.latent)


def make_decoder():
    return Network(SIZES.latent, 64, (1, 8, 8))


def fit_vae(images):
    """Two optimisers, one for each network; the noise of this function is its own and the global generator's."""
    encoder, decoder = make_encoder(), make_decoder()
    optimisers = [torch.optim.NAdam(net.parameters(), lr=3e-3) for net in (encoder, decoder)]
    history = []
    for step in range(SIZES.steps):
        for optimiser in optimisers:
            optimiser.param_groups[0]["lr"] = 3e-3 * min(1, step / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / SIZES.steps)))
            optimiser.zero_grad(set_to_none=True)
        log_lik, kl = bound_terms(images[torch.randint(len(images), (SIZES.batch,))], encoder, decoder)
        loss = kl.mean() - log_lik.mean()
        loss.backward()
        for optimiser in optimisers:
            optimiser.step()
        history.append(loss.item())
    encoder.eval(), decoder.eval()
    return encoder, decoder, history


def bound_terms(x, encoder, decoder):
    mean, log_std = encoder(x)
    return bernoulli_log_likelihood(decoder(reparametrise(mean, log_std)), x), normal_kl(mean, log_std).sum(1)
