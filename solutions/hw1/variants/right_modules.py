"""Random degrees that miss none, layers written from nn.Module, PyTorch's own attention and distributions."""

# %% made-masks-solution
def made_masks(n_dims, hidden_sizes):
    order = [torch.arange(n_dims)]
    for size in hidden_sizes:
        every = torch.arange(n_dims - 1).repeat(size // (n_dims - 1) + 1)[:size]
        order.append(every[torch.randperm(size)])
    masks = [torch.ge(b.unsqueeze(1), a).to(torch.float32) for a, b in itertools.pairwise(order)]
    return [*masks, torch.gt(order[0].unsqueeze(1), order[-1]).to(torch.float32)]

class MaskedLinear(nn.Module):
    def __init__(self, mask, bias=True):
        super().__init__()
        bound = mask.shape[1] ** -0.5
        self.weight = nn.Parameter(torch.empty(mask.shape).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(mask.shape[0]))
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x):
        return torch.addmm(self.bias, x, (self.weight * self.mask).t())

# %% made-log-prob-solution
def log_prob(net, x):
    bernoulli = torch.distributions.Bernoulli(logits=net(x), validate_args=False)
    return torch.distributions.Independent(bernoulli, x.ndim - 1, validate_args=False).log_prob(x)

# %% pixelcnn-mask-solution
def conv_mask(mask_type, kernel_size):
    kept = kernel_size**2 // 2 + int(mask_type == "B")
    return (torch.arange(kernel_size**2) < kept).float().view(kernel_size, kernel_size)

class MaskedConv2d(nn.Module):
    def __init__(self, mask_type, in_channels, out_channels, kernel_size, bias=True):
        super().__init__()
        shape = (out_channels, in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(torch.randn(shape) / (in_channels * kernel_size**2 / 2 + 1) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("hidden", conv_mask(mask_type, kernel_size) == 0)
        self.half = kernel_size // 2

    def forward(self, x):
        x = F.pad(x, (self.half,) * 4)
        return F.conv2d(x, self.weight.masked_fill(self.hidden, 0.0), self.bias)

# %% transformer-mask-solution
def causal_mask(n_queries, n_keys):
    everyone = torch.arange(n_keys)
    return torch.stack([everyone <= n_keys - n_queries + i for i in range(n_queries)])

def attention(q, k, v):
    return F.scaled_dot_product_attention(q, k, v, attn_mask=causal_mask(q.size(-2), k.size(-2)))

# %% transformer-log-prob-solution
from typing import NamedTuple

START = 2

def shift_right(x):
    return F.pad(x[:, :-1].long(), (1, 0), value=START)

class Block(nn.Module):
    """Three maps of their own, a cache in a named tuple."""

    def __init__(self, width, n_heads):
        super().__init__()
        self.maps = nn.ModuleDict({name: nn.Linear(width, width, bias=False) for name in ("q", "k", "v", "out")})
        self.heads = n_heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.Tanh(), nn.Linear(2 * width, width))

    def forward(self, h, past=None):
        x = self.before(h)
        q, k, v = (self.maps[name](x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for name in "qkv")
        past = KeysValues(k, v) if past is None else KeysValues(torch.cat([past.k, k], 2), torch.cat([past.v, v], 2))
        h = h + self.maps["out"](attention(q, past.k, past.v).transpose(1, 2).flatten(2))
        return h + self.mlp(self.between(h)), past

class KeysValues(NamedTuple):
    k: torch.Tensor
    v: torch.Tensor

class ImageTransformer(nn.Module):
    def __init__(self, n_pixels, width=32, n_heads=2, n_layers=2, scale=0.1):
        super().__init__()
        self.token = nn.Embedding(3, width)
        self.position = nn.Parameter(scale * torch.randn(n_pixels, width))
        self.blocks = nn.ModuleList(Block(width, n_heads) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1, bias=False)

    def embed(self, tokens, first=0):
        return self.token(tokens) + self.position[first : first + tokens.size(1)]

    def forward(self, x):
        h = self.embed(shift_right(x))
        for block in self.blocks:
            h = block(h)[0]
        return self.head(self.norm(h))[..., 0]

# %% train-bars-run
bars_model = make_bars_model()
bars_losses = fit(bars_model, own_bars, 700, 128, 1e-2)
