"""A stranger: torch.distributions nearly everywhere, recursion, a custom Function, a dictionary of his own class, a convolutional VAE."""

# %% theory-ppca-solution
from torch.distributions import Categorical, Gumbel, Independent, LowRankMultivariateNormal, MixtureSameFamily


def ppca_posterior(x, W, mu, sigma):
    """Conditioning in the joint Gaussian of (z, x): the gain is Wᵀ C⁻¹."""
    D, L = W.shape
    C = W @ W.T + torch.diag((sigma**2 * torch.ones(D, dtype=x.dtype)))
    gain = torch.linalg.solve(C, W).T  # (L, D)
    return (x - mu) @ gain.T, torch.eye(L, dtype=x.dtype) - gain @ W


def ppca_log_prob(x, W, mu, sigma):
    return LowRankMultivariateNormal(mu, W, sigma**2 * torch.ones_like(mu)).log_prob(x)

# %% theory-rate-solution
def ppca_fit(covariance, sigma2):
    """W is the symmetric root of the part of the covariance above the water: a rotation of the textbook's W."""
    U, S, _ = torch.linalg.svd(covariance)  # descending
    root = torch.relu(S - sigma2).sqrt()
    return (torch.einsum("ij,j,kj->ik", U, root, U), torch.relu(0.5 * torch.log(S / sigma2)))

# %% theory-surgery-code-solution
def elbo_surgery(q, p):
    def divergence(a, b):
        total = 0.0
        for a_k, b_k in zip(a.tolist(), b.tolist()):
            if a_k > 0:
                total += a_k * math.log(a_k / b_k)
        return total

    bar = q.sum(0) / q.shape[0]
    return divergence(bar, p), sum(divergence(row, bar) for row in q) / len(q)

# %% em-solution
def gmm_log_prob(x, weights, means, covs):
    mixture = MixtureSameFamily(Categorical(logits=weights.log()), MultivariateNormal(means, scale_tril=torch.linalg.cholesky(covs)))
    return mixture.log_prob(x)


def e_step(x, weights, means, covs):
    columns = [w.log() + MultivariateNormal(m, c).log_prob(x) for w, m, c in zip(weights, means, covs)]
    return (torch.stack(columns, 1) - gmm_log_prob(x, weights, means, covs)[:, None]).exp()


def m_step(x, resp, shared=False):
    N, D = x.shape
    means, covs = [], []
    for r in resp.unbind(1):
        means.append((r[:, None] * x).sum(0) / r.sum())
        y = r.sqrt()[:, None] * (x - means[-1])
        covs.append(y.T @ y / r.sum())
    weights, means, covs = resp.mean(0), torch.stack(means), torch.stack(covs)
    if shared:
        covs = torch.tensordot(weights, covs, 1).expand_as(covs)
    return weights, means, covs


def fit_gmm(x, weights, means, covs, n_steps):
    def climb(parameters, left):
        here = [gmm_log_prob(x, *parameters).mean()]  # tensors without dimensions
        if left == 0:
            return parameters, here
        parameters, later = climb(m_step(x, e_step(x, *parameters)), left - 1)
        return parameters, here + later

    parameters, history = climb((weights, means, covs), n_steps)
    return (*parameters, history)

# %% gaussians-solution
def _law(mean, log_std):
    return Normal(mean, torch.as_tensor(log_std).exp())


def normal_kl(mean_1, log_std_1, mean_2=0.0, log_std_2=0.0):
    return kl_divergence(_law(mean_1, log_std_1), _law(mean_2, log_std_2))


def normal_nll(x, mean, log_std):
    return -_law(mean, log_std).log_prob(x)


def reparametrise(mean, log_std):
    return _law(mean, log_std).rsample()

# %% elbo-solution
def elbo(x, encoder, log_likelihood):
    """The entropy of q in closed form, the rest at z."""
    q = Independent(_law(*encoder(x)), 1)
    z = q.rsample()
    return log_likelihood(x, z) + _law(torch.zeros_like(z), torch.zeros_like(z)).log_prob(z).sum(-1) + q.entropy()


class Parts(dict):
    __getattr__ = dict.__getitem__


def vae_loss(x, encoder, log_likelihood, beta=1.0):
    q = _law(*encoder(x))
    prior = _law(torch.zeros_like(q.mean), torch.zeros_like(q.mean))
    parts = Parts(reconstruction=log_likelihood(x, q.rsample()).mean(), kl=kl_divergence(q, prior).sum(-1).mean())
    parts["loss"] = -parts.reconstruction + beta * parts.kl
    return parts


def bernoulli_log_likelihood(logits, x):
    law = torch.distributions.Bernoulli(logits=logits)
    return Independent(law, logits.dim() - 1).log_prob(x)

# %% iwae-solution
def iwae_bound(x, encoder, log_likelihood, k):
    """A loop over the k draws, one call each."""
    q, total = Independent(_law(*encoder(x)), 1), None
    prior = Independent(_law(torch.zeros_like(q.mean), torch.zeros_like(q.mean)), 1)
    for _ in range(k):
        z = q.rsample()
        log_weight = log_likelihood(x, z) + prior.log_prob(z) - q.log_prob(z)
        total = log_weight if total is None else torch.logaddexp(total, log_weight)
    return total - math.log(k)

# %% vamp-solution
def vamp(encoder, pseudo_inputs):
    mean, log_std = encoder(pseudo_inputs)
    return MixtureSameFamily(Categorical(logits=mean.new_zeros(len(mean))), Independent(_law(mean, log_std), 1))


def vamp_log_prob(z, encoder, pseudo_inputs):
    return vamp(encoder, pseudo_inputs).log_prob(z)


def vamp_sample(n, encoder, pseudo_inputs):
    return vamp(encoder, pseudo_inputs).sample((n,))

# %% vq-solution
def nearest_codes(z, codebook):
    B, D, H, W = z.shape
    rows = z.movedim(1, -1).reshape(-1, D)
    return torch.cdist(rows, codebook, compute_mode="donot_use_mm_for_euclid_dist").argmin(1).reshape(B, H, W)


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, value):
        return value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient, None


def chosen_vectors(z, codebook):
    return F.embedding(nearest_codes(z, codebook), codebook).movedim(-1, 1)


def quantise(z, codebook):
    return StraightThrough.apply(z, chosen_vectors(z, codebook))


def vq_losses(z, codebook):
    e = chosen_vectors(z, codebook)
    return F.mse_loss(e, z.detach()), F.mse_loss(z, e.detach())

# %% vq-ema-solution
def ema_update(counts, sums, z, codes, decay):
    rows, at = z.movedim(1, -1).reshape(-1, z.shape[1]), codes.reshape(-1)
    new_counts = (decay * counts).index_add(0, at, counts.new_ones(len(at)), alpha=1 - decay)
    new_sums = (decay * sums).index_add(0, at, rows, alpha=1 - decay)
    return new_counts, new_sums, new_sums / new_counts.unsqueeze(1)


def perplexity(codes, n_codes):
    _, used = codes.unique(return_counts=True)
    return math.exp(-sum(p * math.log(p) for p in (used.double() / codes.numel()).tolist()))

# %% gumbel-solution
def gumbel_softmax(logits, tau, hard=False, u=None):
    if u is None:
        g = Gumbel(torch.zeros_like(logits), torch.ones_like(logits)).sample()
    else:
        g = -torch.log(-torch.log(u))
    y = F.softmax((logits + g) / tau, dim=-1)
    if hard:
        y = StraightThrough.apply(y, torch.eye(y.shape[1], dtype=y.dtype)[y.argmax(1)])
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


def make_encoder():
    """A small convolutional network; log_std is kept between -6 and 2 by a tanh."""

    class ConvEncoder(nn.Module):
        def __init__(self, latent=12):
            super().__init__()
            self.features = nn.Sequential(
                nn.Conv2d(1, 32, 4, stride=2, padding=1), nn.GELU(), nn.Flatten(), nn.Linear(32 * 16, 200), nn.GELU()
            )
            self.mean, self.log_std = nn.Linear(200, latent), nn.Linear(200, latent)

        def forward(self, x):
            h = self.features(x)
            return self.mean(h), -2 + 4 * torch.tanh(self.log_std(h) / 4)

    return ConvEncoder()


def make_decoder():
    return nn.Sequential(
        nn.Linear(12, 256), nn.GELU(), nn.Linear(256, 512), nn.GELU(), nn.Unflatten(1, (32, 4, 4)),
        nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1),
    )


def fit_vae(images):
    torch.manual_seed(3)
    encoder, decoder = make_encoder().train(), make_decoder().train()
    epochs, size, history = 50, 100, []
    optimiser = torch.optim.AdamW(nn.ModuleList([encoder, decoder]).parameters(), lr=2e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    for _ in range(epochs):
        for batch in images[torch.randperm(len(images))].split(size):
            parts = vae_loss(batch, encoder, lambda x, z: bernoulli_log_likelihood(decoder(z), x))
            optimiser.zero_grad()
            parts["loss"].backward()
            nn.utils.clip_grad_norm_(encoder.parameters(), 20.0)
            optimiser.step()
            history.append(float(parts["loss"]))
        schedule.step()
    return encoder.eval(), decoder.eval(), history


def bound_terms(x, encoder, decoder):
    """Not used: `vae_loss` has it all."""
    return None
