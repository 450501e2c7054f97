"""Formulas by logsigmoid and logaddexp, the penalty sample by sample, a truncated law that redraws whole tensors where they are outside."""

# %% gan-losses-answer
def discriminator_loss(real_logits, fake_logits):
    return torch.logaddexp(torch.zeros_like(real_logits), -real_logits).mean() - F.logsigmoid(-fake_logits).mean()

def generator_loss(fake_logits, kind):
    if kind == "minimax":
        return F.logsigmoid(-fake_logits).mean()
    elif kind == "non-saturating":
        return -F.logsigmoid(fake_logits).mean()
    raise ValueError(kind)

def lsgan_losses(real_scores, fake_scores, a=0.0, b=1.0, c=1.0):
    d_loss = ((real_scores - b) ** 2).sum() / (2 * len(real_scores)) + ((fake_scores - a) ** 2).sum() / (2 * len(fake_scores))
    return d_loss, ((fake_scores - c) ** 2).sum() / (2 * len(fake_scores))

# %% gradient-penalty-answer
def gradient_penalty(critic, real, fake):
    t = torch.empty(len(real), dtype=torch.float64).uniform_().to(real)
    t = t.view(-1, *[1 for _ in range(real.ndim - 1)])
    x_hat = torch.lerp(fake, real, t.expand_as(real)).detach().requires_grad_(True)
    with torch.enable_grad():
        slopes = torch.autograd.grad(critic(x_hat).sum(), x_hat, create_graph=True)[0]
    return torch.stack([(torch.linalg.vector_norm(g) - 1) ** 2 for g in slopes]).mean()

def critic_step(generator, critic, optimizer, real, noise, lam):
    optimizer.zero_grad()
    with torch.no_grad():
        fake = generator(noise)
    loss, _ = critic_losses(critic(real), critic(fake))
    total = loss + lam * batched_penalty(critic, real, fake)
    total.backward()
    optimizer.step()
    return float(total.detach())

def batched_penalty(critic, real, fake):
    t = torch.rand(len(real), dtype=real.dtype).view(-1, *[1] * (real.ndim - 1))
    x = (t * real + (1 - t) * fake).requires_grad_()
    (g,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return (torch.linalg.vector_norm(g.flatten(1), dim=1) - 1).pow(2).mean()

# %% inception-score-answer
def inception_score(probs):
    marginal = probs.mean(dim=0, keepdim=True)
    ratio = torch.where(probs > 0, probs / marginal.clamp(min=1e-300), torch.ones_like(probs))
    return torch.exp((probs * ratio.log()).sum(dim=1).mean())

# %% truncation-answer
def truncate(w, mean, psi):
    return mean + (w - mean).mul(psi)

def truncated_normal(shape, threshold):
    z = torch.randn(*shape)
    while True:
        bad = z.abs() > threshold
        if not bad.any():
            return z
        z = torch.where(bad, torch.randn(*shape), z)
