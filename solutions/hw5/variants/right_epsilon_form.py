"""Steps back by the noise alone, tables of Python floats, all noise drawn before the loop."""

# %% ddpm-reverse-solution
def reverse_mean_variance(x_t, t, noise, betas):
    shape = (-1,) + (1,) * (x_t.dim() - 1)
    abar = torch.cumprod(1 - betas, 0)
    before = torch.where(t > 0, abar[(t - 1).clamp(min=0)], torch.ones((), dtype=betas.dtype))
    beta, now = betas[t], abar[t]
    pull = (beta / (1 - now).sqrt()).to(x_t.dtype).view(shape)
    grow = (1 - beta).rsqrt().to(x_t.dtype).view(shape)
    return grow * (x_t - pull * noise), (beta * (1 - before) / (1 - now)).to(x_t.dtype).view(shape)

# %% ddpm-sample-solution
def ddpm_sample(model, x_T, betas):
    kept, table = 1.0, []
    for beta in betas.tolist():
        now = kept * (1 - beta)
        table.append((beta / math.sqrt(1 - now), (1 - beta) ** -0.5, math.sqrt(beta * (1 - kept) / (1 - now))))
        kept = now
    x, z = x_T.detach(), torch.randn(len(table), *x_T.shape, dtype=x_T.dtype)
    for t in range(len(table) - 1, -1, -1):
        pull, grow, spread = table[t]
        with torch.no_grad():
            x = grow * (x - pull * model(x, torch.tensor([t] * x.shape[0]))) + spread * z[t]
    return x

# %% ddim-solution
def ddim_sample(model, x_T, betas, steps, eta):
    kept = np.cumprod(1 - betas.numpy())
    x = x_T.clone()
    for k in range(len(steps) - 1, -1, -1):
        now, before = float(kept[steps[k]]), float(kept[steps[k - 1]]) if k else 1.0
        sigma = eta * math.sqrt((1 - before) / (1 - now) * (1 - now / before))
        with torch.no_grad():
            eps = model(x, torch.full((x.shape[0],), steps[k], dtype=torch.int64))
            clean = (x - math.sqrt(1 - now) * eps) / math.sqrt(now)
            x = math.sqrt(before) * clean + math.sqrt(max(0.0, 1 - before - sigma**2)) * eps
            if k > 0 and eta > 0:
                x = x + sigma * torch.randn_like(x)
    return x

# %% cfg-solution
def cfg_loss(model, x_0, y, betas, n_classes, p):
    keep = torch.bernoulli(torch.full(y.shape, 1.0 - p)).long()
    labels = keep * y + (1 - keep) * n_classes
    t = torch.randint(0, betas.numel(), y.shape)
    eps = torch.randn(x_0.shape, dtype=x_0.dtype)
    return F.mse_loss(model(q_sample(x_0, t, betas, eps), t, labels), eps)

def guided_noise(model, x, t, y, n_classes, w):
    if w == 1:
        return model(x, t, y)
    null = model(x, t, torch.ones_like(y) * n_classes)
    return null if w == 0 else (1 - w) * null + w * model(x, t, y)

def cfg_sample(model, x_T, y, betas, n_classes, w):
    with torch.no_grad():
        return ddpm_sample(lambda x, t: guided_noise(model, x, t, y, n_classes, w), x_T, betas)
