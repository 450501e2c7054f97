"""Expands squares, multiplies matrices, uses einsum and Woodbury; k of a bound is the inner axis, constants are float32 tensors."""

# %% theory-ppca-solution
def ppca_posterior(x, W, mu, sigma):
    C = W @ W.T + sigma**2 * torch.eye(len(W), dtype=W.dtype)
    gain = torch.linalg.solve(C, W).T
    return torch.einsum("ld,bd->bl", gain, x - mu), torch.eye(W.shape[1], dtype=W.dtype) - gain @ W


def ppca_log_prob(x, W, mu, sigma):
    (D, L), d = W.shape, x - mu
    M = W.T @ W + sigma**2 * torch.eye(L, dtype=W.dtype)
    inner = d @ W
    square = ((d * d).sum(1) - torch.einsum("bl,bl->b", inner, torch.linalg.solve(M, inner.T).T)) / sigma**2
    log_det = torch.logdet(M) + (D - L) * 2 * math.log(sigma)
    return -0.5 * (square + log_det + D * math.log(2 * math.pi))

# %% theory-rate-solution
def ppca_fit(covariance, sigma2):
    U, S, _ = torch.linalg.svd(covariance)
    alive = S > sigma2
    W = torch.where(alive, torch.sqrt(torch.where(alive, S - sigma2, 0 * S)), 0 * S) * U
    turn = torch.linalg.qr(torch.randn(len(S), len(S), dtype=S.dtype))[0]
    return W @ turn, torch.relu(0.5 * torch.log(S / sigma2))

# %% theory-surgery-code-solution
def elbo_surgery(q, p):
    bar = q.mean(0)
    safe = torch.where(q > 0, q, torch.ones_like(q))
    joint = (q * (safe.log() - torch.where(bar > 0, bar, torch.ones_like(bar)).log())).sum() / q.shape[0]
    return torch.special.entr(bar).sum().neg() - (bar * p.log()).sum(), joint

# %% gaussians-solution
HALF_LOG_2PI = torch.tensor(2 * math.pi).log() / 2


def normal_kl(mean_1, log_std_1, mean_2=0.0, log_std_2=0.0):
    v1 = torch.exp(2 * log_std_1)
    v2 = torch.exp(2 * torch.as_tensor(log_std_2, dtype=v1.dtype))
    return torch.as_tensor(log_std_2) - log_std_1 + (v1 + (mean_1 - mean_2) ** 2) / (2 * v2) - 0.5

def normal_nll(x, mean, log_std):
    return (x - mean) ** 2 / (2 * torch.exp(2 * log_std)) + log_std + HALF_LOG_2PI

def reparametrise(mean, log_std):
    return torch.addcmul(mean, log_std.exp(), torch.randn(mean.shape, dtype=mean.dtype))

# %% iwae-solution
def iwae_bound(x, encoder, log_likelihood, k):
    B = len(x)
    mean, log_std = encoder(x.repeat_interleave(k, dim=0))
    z = mean + log_std.exp() * torch.randn_like(mean)
    nll = ((z - mean) ** 2 / (2 * (2 * log_std).exp()) + log_std + HALF_LOG_2PI).sum(1)
    log_prior = -(z**2 / 2 + HALF_LOG_2PI).sum(1)
    log_w = (log_likelihood(x.repeat_interleave(k, dim=0), z) + log_prior + nll).view(B, k)
    return torch.logsumexp(log_w, 1) - torch.tensor(float(k)).log()

# %% vamp-solution
def vamp_log_prob(z, encoder, pseudo_inputs):
    mean, log_std = encoder(pseudo_inputs)
    scaled = (z.unsqueeze(1) - mean.unsqueeze(0)) / log_std.exp()
    log_q = -(scaled.pow(2) / 2 + log_std + HALF_LOG_2PI).sum(-1)
    return torch.logsumexp(log_q - torch.tensor(float(len(pseudo_inputs))).log(), dim=1)

def vamp_sample(n, encoder, pseudo_inputs):
    who = torch.multinomial(torch.ones(len(pseudo_inputs)), n, replacement=True)
    mean, log_std = encoder(pseudo_inputs[who])
    return torch.normal(mean.detach(), log_std.exp().detach())

# %% vq-solution
def nearest_codes(z, codebook):
    flat = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
    distance = flat.pow(2).sum(1, keepdim=True) - 2 * flat @ codebook.T + codebook.pow(2).sum(1)
    return distance.min(1).indices.view(z.shape[0], z.shape[2], z.shape[3])

def _look_up(z, codebook):
    one_hot = F.one_hot(nearest_codes(z, codebook), len(codebook)).to(z.dtype)
    return torch.einsum("bhwk,kd->bdhw", one_hot, codebook)

def quantise(z, codebook):
    return _look_up(z, codebook).detach() + z - z.detach()

def vq_losses(z, codebook):
    e = _look_up(z, codebook)
    return ((e - z.detach()) ** 2).sum() / z.numel(), ((e.detach() - z) ** 2).sum() / z.numel()

# %% vq-ema-solution
def ema_update(counts, sums, z, codes, decay):
    flat = torch.movedim(z, 1, -1).reshape(-1, z.shape[1])
    n = torch.zeros_like(counts).index_add(0, codes.reshape(-1), torch.ones(len(flat), dtype=counts.dtype))
    s = torch.zeros_like(sums).index_add(0, codes.reshape(-1), flat)
    counts, sums = torch.lerp(n, counts, decay), torch.lerp(s, sums, decay)
    return counts, sums, sums / counts.unsqueeze(1)

def perplexity(codes, n_codes):
    return torch.distributions.Categorical(torch.bincount(codes.reshape(-1), minlength=n_codes).double()).entropy().exp()

# %% gumbel-solution
def gumbel_softmax(logits, tau, hard=False, u=None):
    e = torch.empty_like(logits).exponential_() if u is None else -torch.log(u)
    y = F.softmax((logits - torch.log(e)) / tau, dim=1)
    if hard:
        return (y == y.max(1, keepdim=True).values).to(y.dtype) - y.detach() + y
    return y
