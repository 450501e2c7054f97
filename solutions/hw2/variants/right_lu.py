"""1×1 convolution as P L (U + diag s) with conv2d, ActNorm with a counter, the unbiased variance and a larger ε."""

# %% actnorm-solution
class ActNorm(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.shift = nn.Parameter(torch.zeros(channels))
        self.register_buffer("seen", torch.zeros((), dtype=torch.uint8))

    def shaped(self, parameter, x):
        return parameter.reshape(1, -1, *(1 for _ in x.shape[2:]))

    def forward(self, x):
        if self.training and self.seen.item() == 0:
            rows = x.detach().transpose(0, 1).flatten(1)  # (C, everything else)
            std = (rows.var(1, unbiased=True) + 1e-6).sqrt()
            self.log_scale.data.copy_(std.log().neg())
            self.shift.data.copy_(-rows.mean(1) / std)
            self.seen += 1
        z = torch.exp(self.shaped(self.log_scale, x)) * x + self.shaped(self.shift, x)
        return z, math.prod(x.shape[2:]) * self.log_scale.sum() * torch.ones(len(x), dtype=x.dtype)

    def inverse(self, z):
        x = (z - self.shaped(self.shift, z)) / self.shaped(self.log_scale, z).exp()
        return x, -math.prod(z.shape[2:]) * self.log_scale.sum() * z.new_ones(len(z))

# %% conv1x1-solution
class InvertibleConv1x1(nn.Module):
    def __init__(self, channels):
        super().__init__()
        Q = torch.linalg.qr(torch.randn(channels, channels))[0]
        P, L, U = torch.linalg.lu(Q)
        self.register_buffer("P", P)
        self.register_buffer("sign", U.diagonal().sign())
        self.lower = nn.Parameter(L.tril(-1))
        self.upper = nn.Parameter(U.triu(1))
        self.log_s = nn.Parameter(U.diagonal().abs().log())

    def matrix(self):
        L = self.lower.tril(-1) + torch.eye(len(self.P), dtype=self.lower.dtype)
        return self.P @ L @ (self.upper.triu(1) + torch.diag(self.sign * self.log_s.exp()))

    def forward(self, x):
        z = F.conv2d(x, self.matrix()[:, :, None, None])
        return z, (x.shape[2] * x.shape[3] * self.log_s.sum()).repeat(len(x))

    def inverse(self, z):
        flat = torch.linalg.solve(self.matrix(), z.flatten(2))
        return flat.view_as(z), -(z.shape[2] * z.shape[3] * self.log_s.sum()).repeat(len(z))
