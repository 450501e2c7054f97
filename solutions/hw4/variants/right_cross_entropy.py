"""Losses by PyTorch's cross-entropy, one call of the discriminator on both batches, gradients set by hand, flags put back."""

# %% theory-discriminator-answer
def optimal_discriminator(p, q, prior):
    d = torch.where(prior * p > 0, 1 / (1 + (1 - prior) * q / (prior * p)), torch.zeros_like(p))
    parts = torch.stack([prior * p, (1 - prior) * q])
    m = parts.sum(0)
    divergence = sum(float((w * (w / m).log())[w > 0].sum()) for w in parts)
    return d, divergence

# %% theory-conjugate-answer
def conjugate(t):
    u = (2 / torch.sqrt((1 - t).clamp(min=1e-300)) - 1).clamp(min=0)
    at_u = u * t - (u - 1) ** 2 / (u + 1)
    return torch.where(t >= 1, 3 + 0 * t, at_u)

def optimal_critic(ratio):
    return (ratio - 1) * (ratio + 3) / (ratio + 1) ** 2

# %% gan-losses-answer
def discriminator_loss(real_logits, fake_logits):
    real = F.binary_cross_entropy_with_logits(real_logits, torch.ones_like(real_logits))
    return real + F.binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))

def generator_loss(fake_logits, kind):
    label = 0.0 if kind == "minimax" else 1.0
    loss = F.binary_cross_entropy_with_logits(fake_logits, torch.full_like(fake_logits, label))
    return -loss if kind == "minimax" else loss

def lsgan_losses(real_scores, fake_scores, a=0.0, b=1.0, c=1.0):
    mse = lambda x, y: F.mse_loss(x, torch.full_like(x, y)) / 2
    return [mse(real_scores, b) + mse(fake_scores, a), mse(fake_scores, c)]

# %% gan-steps-answer
def discriminator_step(generator, discriminator, optimizer, real, noise):
    flags = [p.requires_grad for p in generator.parameters()]
    generator.requires_grad_(False)
    both = torch.cat([real, generator(noise)])
    logits = discriminator(both)
    loss = discriminator_loss(logits[: len(real)], logits[len(real) :])
    weights = list(discriminator.parameters())
    for weight, slope in zip(weights, torch.autograd.grad(loss, weights)):
        weight.grad = slope
    optimizer.step()
    for parameter, flag in zip(generator.parameters(), flags):
        parameter.requires_grad_(flag)
    return float(loss)

def generator_step(generator, discriminator, optimizer, noise):
    generator.zero_grad()
    discriminator.zero_grad()
    loss = -F.logsigmoid(discriminator(generator(noise))).mean()
    loss.backward()
    optimizer.step()
    discriminator.zero_grad()
    return loss.detach()

# %% fgan-answer
def fgan_losses(t_real, t_fake, conjugate):
    return conjugate(t_fake).mean() - t_real.mean(), conjugate(t_fake).mean().neg()

def activation(v, name):
    return {"kl": lambda v: v, "pearson": lambda v: v, "reverse-kl": lambda v: -(-v).exp(), "gan": F.logsigmoid}[name](v)

# %% critic-answer
def critic_losses(real_scores, fake_scores):
    return -(real_scores.mean() - fake_scores.mean()), -fake_scores.mean()

def clip_parameters(critic, c):
    for module in critic.modules():
        for parameter in module.parameters(recurse=False):
            parameter.data.clamp_(min=-c, max=c)

def wasserstein_1d(x, y):
    n = math.lcm(len(x), len(y))
    a, b = x.sort().values.repeat_interleave(n // len(x)), y.sort().values.repeat_interleave(n // len(y))
    return (a - b).abs().mean()

# %% gradient-penalty-answer
def gradient_penalty(critic, real, fake):
    B = real.shape[0]
    t = torch.rand(B, dtype=real.dtype).reshape(B, *(1 for _ in real.shape[1:]))
    x = fake + t * (real - fake)
    x.requires_grad_(True)
    scores = critic(x)
    grads = torch.autograd.grad(outputs=scores, inputs=x, grad_outputs=torch.ones_like(scores), create_graph=True, retain_graph=True)[0]
    norms = torch.sqrt((grads.reshape(B, -1) ** 2).sum(dim=1) + 1e-8)
    return torch.mean((norms - 1) ** 2)

def critic_step(generator, critic, optimizer, real, noise, lam):
    fake = generator(noise).detach()
    scores = critic(torch.cat([real, fake]))
    loss = scores[len(real) :].mean() - scores[: len(real)].mean()
    if lam:
        loss = loss + lam * gradient_penalty(critic, real, fake)
    critic.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()
