"""Loops over rows, components, draws and pixels, and computes in double precision inside; casts back."""

# %% theory-surgery-code-solution
def elbo_surgery(q, p):
    aggregated = [float(q[:, k].mean()) for k in range(q.shape[1])]
    marginal = sum(a * math.log(a / float(b)) for a, b in zip(aggregated, p) if a > 0)
    entropy = -sum(a * math.log(a) for a in aggregated if a > 0)
    inner = -sum(float(v) * math.log(float(v)) for row in q for v in row if v > 0) / len(q)
    return marginal, entropy - inner

# %% em-solution
def _log_joint(x, weights, means, covs):
    columns = []
    for weight, mean, cov in zip(weights, means, covs):
        L = torch.linalg.cholesky(cov.double())
        y = torch.linalg.solve_triangular(L, (x - mean).double().T, upper=False)
        log_det = 2 * L.diagonal().log().sum()
        columns.append(weight.double().log() - 0.5 * (y.square().sum(0) + log_det + x.shape[1] * math.log(2 * math.pi)))
    return torch.stack(columns, 1)

def gmm_log_prob(x, weights, means, covs):
    return torch.logsumexp(_log_joint(x, weights, means, covs), 1).to(x.dtype)

def e_step(x, weights, means, covs):
    log_joint = _log_joint(x, weights, means, covs)
    r = (log_joint - log_joint.max(1, keepdim=True).values).exp()
    return (r / r.sum(1, keepdim=True)).to(x.dtype)

def m_step(x, resp, shared=False):
    N, D = x.shape
    weights, means, covs = [], [], []
    for k in range(resp.shape[1]):
        r = resp[:, k]
        weights.append(r.sum() / N)
        means.append((r @ x) / r.sum())
        d = x - means[-1]
        covs.append((d * r[:, None]).T @ d / r.sum() + 1e-6 * torch.eye(D, dtype=x.dtype))
    if shared:
        one = sum(w * c for w, c in zip(weights, covs))
        covs = [one] * len(covs)
    return torch.stack(weights), torch.stack(means), torch.stack(covs)

def fit_gmm(x, weights, means, covs, n_steps):
    log_likelihoods = [float(gmm_log_prob(x, weights, means, covs).mean())]
    while len(log_likelihoods) <= n_steps:
        weights, means, covs = m_step(x, e_step(x, weights, means, covs))
        log_likelihoods += [float(gmm_log_prob(x, weights, means, covs).mean())]
    return weights, means, covs, log_likelihoods

# %% elbo-solution
def elbo(x, encoder, log_likelihood):
    mean, log_std = encoder(x)
    z = mean + torch.exp(log_std) * torch.randn(mean.shape, dtype=mean.dtype)
    entropy = (log_std + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)
    log_prior = -0.5 * (z * z + math.log(2 * math.pi)).sum(-1)
    return log_likelihood(x, z) + log_prior + entropy

def vae_loss(x, encoder, log_likelihood, beta=1.0):
    mean, log_std = encoder(x)
    z = torch.stack([m + s.exp() * torch.randn(len(m)).to(m) for m, s in zip(mean, log_std)])
    total = 0
    for j in range(mean.shape[1]):
        total = total - 0.5 * (1 + 2 * log_std[:, j] - mean[:, j] ** 2 - torch.exp(2 * log_std[:, j]))
    fit, kl = log_likelihood(x, z).mean(), total.mean()
    return dict(loss=-(fit - beta * kl), reconstruction=fit, kl=kl)

def bernoulli_log_likelihood(logits, x):
    signed = (2 * x - 1) * logits
    return -torch.logaddexp(torch.zeros_like(signed), -signed).reshape(len(x), -1).sum(1)

# %% iwae-solution
def iwae_bound(x, encoder, log_likelihood, k):
    mean, log_std = encoder(x)
    log_w = []
    for _ in range(k):
        noise = torch.randn_like(mean)
        z = mean + log_std.exp() * noise
        log_ratio = (0.5 * noise**2 + log_std - 0.5 * z**2).sum(1)  # the constants cancel
        log_w.append(log_likelihood(x, z) + log_ratio)
    log_w = torch.stack(log_w)
    top = log_w.max(0).values
    return top + (log_w - top).exp().mean(0).log()

# %% vq-solution
def nearest_codes(z, codebook):
    B, D, H, W = z.shape
    codes = torch.zeros(B, H, W, dtype=torch.long)
    for b in range(B):
        for h in range(H):
            for w in range(W):
                codes[b, h, w] = (codebook - z[b, :, h, w]).norm(dim=1).argmin()
    return codes

def quantise(z, codebook):
    class Pass(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z, e):
            return e.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad, None

    return Pass.apply(z, codebook.detach()[nearest_codes(z, codebook)].movedim(3, 1))

def vq_losses(z, codebook):
    e = F.embedding(nearest_codes(z, codebook), codebook).movedim(3, 1)
    return F.mse_loss(e, z.detach()), F.mse_loss(z, e.detach())

# %% vq-ema-solution
def ema_update(counts, sums, z, codes, decay):
    counts, sums = counts * decay, sums * decay
    for k in range(len(counts)):
        members = z.movedim(1, 3)[codes == k]
        counts[k] += (1 - decay) * len(members)
        sums[k] += (1 - decay) * members.sum(0)
    return counts, sums, torch.stack([s / n for s, n in zip(sums, counts)])

def perplexity(codes, n_codes):
    shares = [float((codes == k).double().mean()) for k in range(n_codes)]
    return math.prod(s ** -s for s in shares if s > 0)
