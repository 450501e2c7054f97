"""A stranger, from the zip alone: MultivariateNormal, broadcasting, parts of the loss detached, perceptrons."""

# %% theory-ppca-solution
def ppca_posterior(x, W, mu, sigma):
    """The law of z given each row of x. x: (B, D); W: (D, L); mu: (D,); sigma: a deviation.

    Returns its mean (B, L) and its covariance (L, L), which is the same for all rows.
    """
    M = W.T @ W + sigma**2 * torch.eye(W.shape[1], dtype=W.dtype)  # sigma^2 times the precision
    mean = torch.linalg.solve(M, W.T @ (x - mu).T).T
    return mean, sigma**2 * torch.linalg.inv(M)


def ppca_log_prob(x, W, mu, sigma):
    """ln p(x) in nats, (B,)."""
    cov = W @ W.T + sigma**2 * torch.eye(W.shape[0], dtype=W.dtype)
    return MultivariateNormal(mu, covariance_matrix=cov).log_prob(x)

# %% theory-rate-solution
def ppca_fit(covariance, sigma2):
    """Maximum likelihood of pPCA with L = D and a given noise variance sigma2, a number; covariance: (D, D).

    Returns W (D, D) and the nats that each latent dimension carries, (D,), largest first.
    """
    values, vectors = torch.linalg.eigh(covariance)
    values, vectors = values.flip(0), vectors.flip(1)
    W = vectors * (values - sigma2).clamp(min=0).sqrt()
    rates = 0.5 * (values / sigma2).clamp(min=1).log()
    return W, rates

# %% theory-surgery-code-solution
def elbo_surgery(q, p):
    """q: (N, K), rows sum to one, zeros allowed; p: (K,), all positive, sums to one.

    Returns KL(aggregated posterior || p) and the mutual information of n and z, in nats.
    """
    average = q.mean(0)
    marginal = (torch.xlogy(average, average) - torch.xlogy(average, p)).sum()
    information = (torch.xlogy(q, q) - torch.xlogy(q, average)).sum(1).mean()
    return marginal, information

# %% em-solution
def gmm_log_joint(x, weights, means, covs):
    """ln of weight times density, (N, K)."""
    return weights.log() + MultivariateNormal(means, covs).log_prob(x[:, None])


def gmm_log_prob(x, weights, means, covs):
    """ln p of each row in nats, (N,). x: (N, D); weights: (K,); means: (K, D); covs: (K, D, D)."""
    return gmm_log_joint(x, weights, means, covs).logsumexp(1)


def e_step(x, weights, means, covs):
    """Responsibilities, (N, K): rows sum to one."""
    return gmm_log_joint(x, weights, means, covs).softmax(1)


def m_step(x, resp, shared=False):
    """The parameters that responsibilities (N, K) ask for: weights (K,), means (K, D), covs (K, D, D)."""
    counts = resp.sum(0)
    means = resp.T @ x / counts[:, None]
    offsets = x[:, None] - means  # (N, K, D)
    scatter = torch.einsum("nk,nki,nkj->kij", resp, offsets, offsets)
    if shared:
        covs = (scatter.sum(0) / len(x)).repeat(len(counts), 1, 1)
    else:
        covs = scatter / counts[:, None, None]
    return counts / len(x), means, covs


def fit_gmm(x, weights, means, covs, n_steps):
    """n_steps of EM. Returns weights, means, covs, and the list of n_steps + 1 mean log-likelihoods."""
    history = [gmm_log_prob(x, weights, means, covs).mean().item()]
    for _ in range(n_steps):
        weights, means, covs = m_step(x, e_step(x, weights, means, covs))
        history.append(gmm_log_prob(x, weights, means, covs).mean().item())
    return weights, means, covs, history

# %% gaussians-solution
def normal_kl(mean_1, log_std_1, mean_2=0.0, log_std_2=0.0):
    """KL(N_1 || N_2) in nats, entry by entry."""
    mean_2, log_std_2 = torch.as_tensor(mean_2), torch.as_tensor(log_std_2)
    ratio = 2 * (log_std_1 - log_std_2)
    return 0.5 * (ratio.exp() + (mean_1 - mean_2) ** 2 * (-2 * log_std_2).exp() - 1 - ratio)


def normal_nll(x, mean, log_std):
    """-ln N(x; mean, e^{2 log_std}) in nats, entry by entry."""
    return 0.5 * ((x - mean) * (-log_std).exp()) ** 2 + log_std + 0.5 * math.log(2 * math.pi)


def reparametrise(mean, log_std):
    """A draw z of N(mean, e^{2 log_std}), entry by entry."""
    mean, log_std = torch.broadcast_tensors(mean, log_std)
    return mean + log_std.exp() * torch.randn_like(mean)

# %% elbo-solution
def elbo(x, encoder, log_likelihood):
    """One draw of the bound for each image of x (B, *image), in nats, (B,)."""
    mean, log_std = encoder(x)
    return log_likelihood(x, reparametrise(mean, log_std)) - normal_kl(mean, log_std).sum(1)


def vae_loss(x, encoder, log_likelihood, beta=1.0):
    """{"loss", "reconstruction", "kl"} of a batch, each a tensor without dimensions, in nats an image."""
    mean, log_std = encoder(x)
    reconstruction = log_likelihood(x, reparametrise(mean, log_std)).mean()
    kl = normal_kl(mean, log_std).sum(1).mean()
    return {"loss": beta * kl - reconstruction, "reconstruction": reconstruction.detach(), "kl": kl.detach()}


def bernoulli_log_likelihood(logits, x):
    """ln p(x | z) of binary images from the decoder's logits, both (B, *image), summed over pixels, (B,)."""
    return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").flatten(1).sum(1)

# %% iwae-solution
def iwae_bound(x, encoder, log_likelihood, k):
    """One draw of the bound with k weights for each image of x (B, *image), in nats, (B,)."""
    mean, log_std = (part.repeat(k, 1) for part in encoder(x))
    z = reparametrise(mean, log_std)
    rows = x.repeat(k, *[1] * (x.dim() - 1))  # all images, then all images again ...
    log_prior = -normal_nll(z, torch.zeros_like(z), torch.zeros_like(z)).sum(1)
    log_weights = log_likelihood(rows, z) + log_prior + normal_nll(z, mean, log_std).sum(1)
    return log_weights.reshape(k, len(x)).logsumexp(0) - math.log(k)

# %% vamp-solution
def vamp_log_prob(z, encoder, pseudo_inputs):
    """ln p(z) in nats of each row of z (B, L), (B,); pseudo_inputs: (K, *image)."""
    mean, log_std = encoder(pseudo_inputs)
    log_components = -normal_nll(z[:, None], mean, log_std).sum(2)  # (B, K)
    return log_components.logsumexp(1) - math.log(len(mean))


def vamp_sample(n, encoder, pseudo_inputs):
    """n draws from the prior, (n, L)."""
    mean, log_std = encoder(pseudo_inputs)
    chosen = torch.randint(len(mean), (n,))
    return reparametrise(mean[chosen], log_std[chosen])

# %% vq-solution
def nearest_codes(z, codebook):
    """The nearest row of the codebook (K, D) at each place of z (B, D, H, W): long, (B, H, W)."""
    vectors = z.permute(0, 2, 3, 1)
    return (vectors[..., None, :] - codebook).square().sum(-1).argmin(-1)


def quantise(z, codebook):
    """z with every vector replaced by the nearest codebook vector, (B, D, H, W), gradient straight through."""
    e = codebook[nearest_codes(z, codebook)].permute(0, 3, 1, 2)
    return z + (e - z).detach()


def vq_losses(z, codebook):
    """(codebook loss, commitment loss), tensors without dimensions."""
    e = codebook[nearest_codes(z, codebook)].permute(0, 3, 1, 2)
    return (z.detach() - e).square().mean(), (z - e.detach()).square().mean()

# %% vq-ema-solution
def ema_update(counts, sums, z, codes, decay):
    """New (counts (K,), sums (K, D), codebook (K, D)) after a batch. z: (B, D, H, W); codes: long, (B, H, W)."""
    vectors = z.permute(0, 2, 3, 1).flatten(0, 2)
    members = F.one_hot(codes.flatten(), len(counts)).to(z.dtype)
    counts = decay * counts + (1 - decay) * members.sum(0)
    sums = decay * sums + (1 - decay) * members.T @ vectors
    return counts, sums, sums / counts[:, None]


def perplexity(codes, n_codes):
    """exp of the entropy of the frequencies of codes, long of any shape, among n_codes."""
    p = torch.bincount(codes.flatten(), minlength=n_codes).double() / codes.numel()
    return (-torch.xlogy(p, p).sum()).exp()

# %% gumbel-solution
def gumbel_softmax(logits, tau, hard=False, u=None):
    """A relaxed draw for each row of logits (B, K), (B, K); u: uniform numbers of that shape, drawn where None."""
    if u is None:
        u = torch.rand_like(logits)
    y = ((logits - (-u.log()).log()) / tau).softmax(1)
    if not hard:
        return y
    one_hot = F.one_hot(y.argmax(1), y.shape[1]).to(y.dtype)
    return one_hot + y - y.detach()

# %% train-vae-solution
class VAE(nn.Module):
    """Encoder and decoder in one module, so that their weights are kept together."""

    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder


def make_vae():
    """A new, untrained VAE."""
    return VAE(make_encoder(), make_decoder())


LATENT = 16


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(64, 200), nn.SiLU(), nn.Linear(200, 200), nn.SiLU(), nn.Linear(200, 2 * LATENT)
        )

    def forward(self, x):
        return self.net(x).chunk(2, dim=1)


def make_encoder():
    """A new module: pictures (B, 1, 8, 8) to (mean, log_std), each (B, L)."""
    return Encoder()


def make_decoder():
    """A new module: codes (B, L) to logits (B, 1, 8, 8)."""
    return nn.Sequential(
        nn.Linear(LATENT, 200), nn.SiLU(), nn.Linear(200, 200), nn.SiLU(), nn.Linear(200, 64), nn.Unflatten(1, (1, 8, 8))
    )


def fit_vae(images):
    """Build and train a VAE. Returns (encoder, decoder, history), the modules in evaluation mode."""
    torch.manual_seed(0)
    encoder, decoder = make_encoder(), make_decoder()
    steps, history = 4000, []
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()])
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=4e-3, total_steps=steps)
    for _ in range(steps):
        batch = images[torch.randint(len(images), (128,))]
        log_lik, kl = bound_terms(batch, encoder, decoder)
        loss = (kl - log_lik).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        history.append(loss.item())
    return encoder.eval(), decoder.eval(), history


def bound_terms(x, encoder, decoder):
    """ln p(x | z) at one draw and the KL to the prior, both (B,): a helper of `fit_vae`, which no check asks."""
    mean, log_std = encoder(x)
    logits = decoder(reparametrise(mean, log_std))
    return bernoulli_log_likelihood(logits, x), normal_kl(mean, log_std).sum(1)
