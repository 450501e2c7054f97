"""Fixed random permutations between couplings of one mask, residual perceptrons, weight averaging, a module for every map."""

# %% coupling-solution
class Affine(nn.Module):
    """The coupling as an object that is called both ways."""
    def __init__(self, mask, net):
        super().__init__()
        self.mask, self.net = mask, net

    def parts(self, kept):
        log_s, t = self.net(kept)
        still = self.mask.to(kept.dtype).expand_as(log_s).bool()
        return log_s.masked_fill(still, 0.0), t.masked_fill(still, 0.0)

    def forward(self, x):
        log_s, t = self.parts(x * self.mask)
        return torch.exp(log_s).mul(x).add(t), log_s.reshape(len(x), -1).sum(dim=1)

    def back(self, z):
        log_s, t = self.parts(z * self.mask)
        return torch.exp(-log_s).mul(z.sub(t)), log_s.reshape(len(z), -1).sum(dim=1).mul(-1)

def coupling_forward(x, mask, net):
    return Affine(mask, net)(x)

def coupling_inverse(z, mask, net):
    return Affine(mask, net).back(z)

# %% coupling-masks-solution
def coupling_mask(kind, shape, parity):
    mask = torch.zeros(tuple(shape))
    if kind == "channel":
        half = shape[0] // 2
        if parity == 0:
            mask[:half] = 1.0
        else:
            mask[half:] = 1.0
        return mask
    for r in range(shape[-2]):
        for c in range(shape[-1]):
            if (r + c + parity) % 2:
                mask[..., r, c] = 1.0
    return mask

def squeeze(x):
    parts = [x[:, c, dr::2, dc::2] for c in range(x.shape[1]) for dr in range(2) for dc in range(2)]
    return torch.stack(parts, dim=1)

def unsqueeze(x):
    B, C, H, W = x.shape
    result = torch.empty(B, C // 4, 2 * H, 2 * W, dtype=x.dtype)
    for channel in range(C):
        c, dr, dc = channel // 4, channel % 4 // 2, channel % 2
        result[:, c, dr::2, dc::2] = x[:, channel]
    return result

# %% train-mixture-solution
class Coupling(nn.Module):
    def __init__(self, mask, hidden=64, dropout=0.0):
        super().__init__()
        self.register_buffer("mask", mask)
        n = mask.numel()
        self.first, self.middle, self.last = nn.Linear(n, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 2 * n)
        self.dropout = nn.Dropout(dropout)
        with torch.no_grad():
            self.last.weight.mul_(0.01)

    def net(self, h):
        a = F.gelu(self.first(h.reshape(len(h), -1)))
        a = a + self.dropout(F.gelu(self.middle(a)))
        pair = self.last(a).reshape(len(h), 2, *h.shape[1:])
        return pair[:, 0].clamp(-3, 3), pair[:, 1]

    def forward(self, x):
        return coupling_forward(x, self.mask, self.net)

    def inverse(self, z):
        return coupling_inverse(z, self.mask, self.net)

class Turn(nn.Module):
    """A fixed random rotation or reflection of flattened samples."""
    def __init__(self, n):
        super().__init__()
        self.register_buffer("Q", torch.linalg.qr(torch.randn(n, n))[0])

    def forward(self, x):
        return (x.flatten(1) @ self.Q.T).view_as(x), torch.zeros(len(x), dtype=x.dtype)

    def inverse(self, z):
        return (z.flatten(1) @ self.Q).view_as(z), torch.zeros(len(z), dtype=z.dtype)

def make_mixture_flow():
    layers = []
    for _ in range(8):
        layers += [Coupling(coupling_mask("channel", (2,), 0)), Turn(2)]
    return Flow(layers)

def fit_flow(flow, x, steps, batch_size=256, lr=5e-3, prepare=lambda batch: batch):
    optimizer = torch.optim.Adam(flow.parameters(), lr=lr / 3)
    average = torch.optim.swa_utils.AveragedModel(flow, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    losses = []
    for _ in range(steps):
        index = torch.randint(0, len(x), (batch_size,))
        loss = flow.log_prob(prepare(x[index])).mean().neg()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(flow)
        losses.append(loss.item())
    flow.load_state_dict(average.module.state_dict())
    return losses
