"""Computes in float64 inside and returns the dtype of the input; a gated network of another shape; another optimiser."""

# %% theory-entropy-solution
def bars_log_prob(x, flip=0.05):
    def given_orientation(pixels):  # (B, bar, pixel of the bar)
        white, n = pixels.sum(2), pixels.shape[2]
        a = white * math.log(1 - flip) + (n - white) * math.log(flip)
        b = white * math.log(flip) + (n - white) * math.log(1 - flip)
        return (torch.logaddexp(a, b) - math.log(2)).sum(1)

    pixels = x[:, 0].double()
    both = torch.stack([given_orientation(pixels), given_orientation(pixels.mT)])
    return (both.logsumexp(0) - math.log(2)).to(x.dtype)

def bars_entropy(side=4, flip=0.05, base=2):
    codes = torch.arange(2 ** (side * side))
    bits = (codes[:, None] >> torch.arange(side * side)) & 1
    log_p = bars_log_prob(bits.view(-1, 1, side, side).float(), flip).double()
    nats = torch.special.entr(log_p.exp()).sum()
    return nats, nats / (side**2 * math.log(base))

# %% made-log-prob-solution
def log_prob(net, x):
    logits = net(x)
    signed = torch.where(x > 0.5, logits, -logits).double()
    return -F.softplus(-signed).flatten(1).sum(-1).to(x.dtype)

# %% pixelcnn-log-prob-solution
class PixelCNN(nn.Module):
    def __init__(self, channels=32, n_layers=4, kernel_size=3, dropout=0.0):
        super().__init__()
        kinds = ["A"] + ["B"] * (n_layers - 1)
        widths = [1] + [channels] * (n_layers - 1)
        self.layers = nn.ModuleList(
            MaskedConv2d(kind, width, 2 * channels, kernel_size) for kind, width in zip(kinds, widths)
        )
        self.skips = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(n_layers))
        self.out = nn.Conv2d(channels, 1, 1)

    def forward(self, x):
        total = 0
        for layer, skip in zip(self.layers, self.skips):
            features, gate = layer(x).chunk(2, dim=1)
            x = torch.tanh(features) * torch.sigmoid(gate)
            total = total + skip(x)
        return self.out(F.elu(total))

def nll_loss(net, x, unit="nats"):
    per = {"nats": 1.0, "bits": x[0].numel() * math.log(2)}
    return -torch.mean(log_prob(net, x)) / per[unit]

# %% transformer-mask-solution
def causal_mask(n_queries, n_keys):
    i, j = torch.meshgrid(torch.arange(n_queries), torch.arange(n_keys), indexing="ij")
    return i + (n_keys - n_queries) >= j

def attention(q, k, v):
    scores = (q.double() @ k.double().mT) / q.shape[-1] ** 0.5
    scores[..., ~causal_mask(q.shape[-2], k.shape[-2])] = -1e30
    return (scores.softmax(-1) @ v.double()).to(q.dtype)

# %% train-bars-solution
def make_bars_model():
    return PixelCNN(channels=20, n_layers=4, kernel_size=3)

def fit(net, images, steps, batch_size, lr, weight_decay=1e-4):
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=weight_decay)
    losses, order = [], torch.randperm(len(images))
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1, 10 * (step + 1) / steps) * 0.5 * (1 + math.cos(math.pi * step / steps))
        start = step * batch_size % (len(images) - batch_size)
        loss = nll_loss(net, images[order[start : start + batch_size]])
        net.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        optimizer.step()
        losses.append(float(loss))
    return losses

# %% train-bars-run
bars_model = make_bars_model()
bars_losses = fit(bars_model, own_bars, steps=800, batch_size=100, lr=1e-2)

# %% train-digits-solution
def make_digits_model():
    return PixelCNN(channels=16, n_layers=4, kernel_size=5)

# %% train-digits-run
digits_model = make_digits_model()
digits_losses = fit(digits_model, digits_train, steps=800, batch_size=50, lr=1e-2)
