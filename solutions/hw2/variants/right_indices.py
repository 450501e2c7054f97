"""Couplings by index halves and scatter, masks by NumPy, squeezing by pixel_unshuffle, a stack in nn.Sequential."""

# %% coupling-masks-solution
def coupling_mask(kind, shape, parity):
    where = np.indices(shape)
    if kind == "checkerboard":
        ones = (where[-1] + where[-2] + parity) % 2 == 1
    else:
        first = where[0] < shape[0] // 2
        ones = first if parity == 0 else ~first
    return torch.tensor(ones.astype(np.float32))

def squeeze(x):
    return F.pixel_unshuffle(x, 2)

def unsqueeze(x):
    return F.pixel_shuffle(x, upscale_factor=2)

# %% coupling-solution
def coupling_forward(x, mask, net):
    moved = (mask.flatten() == 0).nonzero().squeeze(1)
    flat = x.flatten(1)
    seen = flat.clone()
    seen[:, moved] = 0
    log_s, t = (part.flatten(1)[:, moved] for part in net(seen.view_as(x)))
    z = flat.index_copy(1, moved, torch.exp(log_s) * flat[:, moved] + t)
    return z.view_as(x), log_s.sum(-1)

def coupling_inverse(z, mask, net):
    moved = torch.where(mask.reshape(-1) < 0.5)[0]
    flat = z.reshape(len(z), -1)
    seen = torch.where(mask.bool(), z, torch.zeros_like(z))
    log_s, t = net(seen)
    log_s, t = log_s.reshape(len(z), -1)[:, moved], t.reshape(len(z), -1)[:, moved]
    x = flat.clone()
    x[:, moved] = (flat[:, moved] - t) / log_s.exp()
    return x.reshape(z.shape), log_s.sum(1).neg()

# %% realnvp-solution
class Flow(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        volumes = [torch.zeros(x.shape[0], dtype=x.dtype, device=x.device)]
        for layer in self.layers:
            x, volume = layer.forward(x)
            volumes.append(volume)
        return x, torch.stack(volumes).sum(0)

    def inverse(self, z):
        volume = torch.zeros(z.shape[0], dtype=z.dtype, device=z.device)
        for i in range(len(self.layers) - 1, -1, -1):
            z, more = self.layers[i].inverse(z)
            volume = volume + more
        return z, volume

    def log_prob(self, x):
        z, volume = self.forward(x)
        z = z.reshape(len(z), -1)
        base = torch.distributions.Independent(torch.distributions.Normal(torch.zeros_like(z), torch.ones_like(z)), 1)
        return base.log_prob(z) + volume

    @torch.no_grad()
    def sample(self, n, shape):
        noise = torch.empty((n, *shape)).normal_()
        return self.inverse(noise)[0].detach()
