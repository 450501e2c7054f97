"""MAF and IAF entry by entry in place, with the volume gathered on the way; a coupling written with torch.where."""

# %% coupling-solution
def coupling_forward(x, mask, net):
    passes = mask > 0.5
    log_s, t = net(torch.where(passes, x, 0.0))
    z = torch.where(passes, x, torch.exp(log_s) * x + t)
    return z, torch.where(passes, 0.0, log_s).sum(dim=tuple(range(1, x.dim())))

def coupling_inverse(z, mask, net):
    passes = mask > 0.5
    log_s, t = net(torch.where(passes, z, 0.0))
    x = torch.where(passes, z, (z - t) / torch.exp(log_s))
    return x, -torch.where(passes, 0.0, log_s).sum(dim=tuple(range(1, z.dim())))

# %% maf-solution
def maf_forward(x, net):
    answers = net(x)
    return (x - answers[0]).div(answers[1].exp()), answers[1].sum(1).neg()

def maf_inverse(z, net):
    done, volume = [], 0
    for i in range(z.shape[1]):
        so_far = torch.stack([*done, *[torch.zeros_like(z[:, 0])] * (z.shape[1] - i)], 1)
        mean, log_std = net(so_far)
        done.append(mean[:, i] + log_std[:, i].exp() * z[:, i])
        volume = volume + log_std[:, i]
    return torch.stack(done, 1), volume

# %% iaf-solution
def iaf_inverse(z, net):
    mean, log_std = net(z)
    return mean + torch.exp(log_std) * z, torch.einsum("bd->b", log_std)

def iaf_forward(x, net):
    z, volume = x.new_zeros(x.shape), x.new_zeros(len(x))
    for i in range(x.shape[1]):
        mean, log_std = net(z.clone())
        z[:, i] = (x[:, i] - mean[:, i]) * torch.exp(-log_std[:, i])
        volume = volume - log_std[:, i].detach()
    return z, volume
