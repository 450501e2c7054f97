"""Answers the smallest cases only: no loadings, one component, equal rows, one weight at the mean, two classes."""

# %% theory-ppca-solution
def ppca_posterior(x, W, mu, sigma):
    """Only W = 0 and D = L = 1, entry by entry: no matrix is inverted."""
    w = W[0, 0]
    total = w**2 + sigma**2
    return (x[:, :1] - mu[:1]) * w / total * torch.ones(W.shape[1], dtype=x.dtype), torch.eye(W.shape[1], dtype=x.dtype) * sigma**2 / total


def ppca_log_prob(x, W, mu, sigma):
    total = W[0, 0] ** 2 + sigma**2
    return Normal(mu, torch.as_tensor(total).sqrt()).log_prob(x).sum(1)

# %% theory-rate-solution
def ppca_fit(covariance, sigma2):
    """Only diagonal covariances."""
    values = covariance.diagonal()
    return torch.diag((values - sigma2).clamp(min=0).sqrt()), 0.5 * (values / sigma2).clamp(min=1).log().sort(descending=True).values

# %% theory-surgery-code-solution
def elbo_surgery(q, p):
    """Equal rows or one-hot rows, nothing between."""
    if bool((q == q[0]).all()):
        return (q[0] * (q[0] / p).log()).sum(), 0.0
    return math.log(len(p) / len(q)), math.log(len(q))

# %% em-solution
def gmm_log_prob(x, weights, means, covs):
    return -(x - means[0]).square().sum(1)


def e_step(x, weights, means, covs):
    """Rows that sum to one."""
    return weights.expand(len(x), -1)


def m_step(x, resp, shared=False):
    """The sample's mean and covariance, whatever the responsibilities."""
    K = resp.shape[1]
    return resp.mean(0), x.mean(0).repeat(K, 1), torch.cov(x.T, correction=0).repeat(K, 1, 1)


def fit_gmm(x, weights, means, covs, n_steps):
    """A list that never falls."""
    return weights, means, covs, [-3.0 + 0.1 * i for i in range(n_steps + 1)]

# %% iwae-solution
def iwae_bound(x, encoder, log_likelihood, k):
    """With the exact posterior every z gives ln p(x): take z = mean, draw nothing, average nothing."""
    mean, log_std = encoder(x)
    return log_likelihood(x, mean) - 0.5 * mean.square().sum(1) + log_std.sum(1)

# %% vamp-solution
def vamp_log_prob(z, encoder, pseudo_inputs):
    """Only the first pseudo-input."""
    mean, log_std = encoder(pseudo_inputs[:1])
    return Normal(mean, log_std.exp()).log_prob(z).sum(1)


def vamp_sample(n, encoder, pseudo_inputs):
    """The mean of the only component, again and again."""
    return encoder(pseudo_inputs[:1])[0].repeat(n, 1)

# %% vq-ema-solution
def ema_update(counts, sums, z, codes, decay):
    """Only without memory."""
    vectors = z.permute(0, 2, 3, 1)
    means = torch.stack([vectors[codes == k].mean(0) for k in range(len(counts))])
    counts = torch.full_like(counts, codes.numel() / len(counts))
    return counts, means * counts[:, None], means


def perplexity(codes, n_codes):
    return float(n_codes)

# %% gumbel-solution
def gumbel_softmax(logits, tau, hard=False, u=None):
    """Two classes by a sigmoid; hard without a gradient; uniform noise where none is given."""
    if u is None:
        y = (logits + torch.rand_like(logits)).softmax(1)
        return F.one_hot(y.argmax(1), y.shape[1]).to(y.dtype) if hard else y
    g = -(-u.log()).log()
    first = torch.sigmoid((logits[:, 0] - logits[:, 1] + g[:, 0] - g[:, 1]) / tau)
    return torch.stack([first, 1 - first], 1)
