"""Digits by squeezing, channel masks, ActNorm, a learned mixing of channels and convolutional networks; flips in the plane."""

# %% train-mixture-solution
class Coupling(nn.Module):
    def __init__(self, mask, hidden=48, dropout=0.0):
        super().__init__()
        self.register_buffer("mask", mask)
        n = mask.numel()
        self.scale, self.translate = (
            nn.Sequential(nn.Flatten(), nn.Linear(n, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, n))
            for _ in range(2)
        )

    def net(self, h):
        return torch.tanh(self.scale(h)).view_as(h), self.translate(h).view_as(h)

    def forward(self, x):
        return coupling_forward(x, self.mask, self.net)

    def inverse(self, z):
        return coupling_inverse(z, self.mask, self.net)

class Flip(nn.Module):
    def forward(self, x):
        return x.flip(1), x.new_zeros(len(x))

    inverse = forward

def make_mixture_flow():
    layers = []
    for _ in range(7):
        layers += [Coupling(coupling_mask("channel", (2,), 0)), Flip(), ActNorm(2)]
    return Flow(layers)

def fit_flow(flow, x, steps, batch_size=256, lr=5e-3, prepare=lambda batch: batch):
    flow.train()
    optimizer = torch.optim.AdamW(flow.parameters(), lr=lr, weight_decay=1e-5)
    losses = []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss = -flow.log_prob(prepare(x[torch.randperm(len(x))[:batch_size]])).mean()
        flow.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(flow.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss))
    return losses

# %% train-digits-solution
class Logit(nn.Module):
    def forward(self, y):
        return logit_forward(y)

    def inverse(self, z):
        return logit_inverse(z)

class Squeeze(nn.Module):
    def forward(self, x):
        return squeeze(x), x.new_zeros(len(x))

    def inverse(self, z):
        return unsqueeze(z), z.new_zeros(len(z))

class ConvCoupling(Coupling):
    def __init__(self, mask, width=64):
        nn.Module.__init__(self)
        self.register_buffer("mask", mask)
        C = mask.shape[0]
        self.body = nn.Sequential(
            nn.Conv2d(C, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU(), nn.Dropout(0.1),
            nn.Conv2d(width, 2 * C, 3, padding=1),
        )
        nn.init.zeros_(self.body[-1].weight)
        nn.init.zeros_(self.body[-1].bias)

    def net(self, h):
        log_s, t = self.body(h).chunk(2, 1)
        return 1.5 * torch.tanh(log_s), t

def make_digits_flow():
    layers = [Logit(), Squeeze()]
    for parity in range(12):
        layers += [ActNorm(4), InvertibleConv1x1(4), ConvCoupling(coupling_mask("channel", (4, 4, 4), parity % 2))]
    return Flow(layers)
