"""A stranger's: an embedding of pixels, masks of bytes, noise drawn at once."""

# %% theory-entropy-solution
def bars_mixture(side, flip):
    stripes = torch.tensor(list(itertools.product([0.0, 1.0], repeat=side)), dtype=torch.float64)
    pictures = torch.cat([stripes.repeat_interleave(side, dim=1), stripes.repeat(1, side)])
    white = pictures * (1 - flip) + (1 - pictures) * flip
    return torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(logits=torch.zeros(len(white), dtype=torch.float64)),
        torch.distributions.Independent(torch.distributions.Bernoulli(white), 1),
    )


def bars_log_prob(x, flip=0.05):
    """Exact log-probability of bar images."""
    law = bars_mixture(x.shape[-1], flip)
    return torch.cat([law.log_prob(part.flatten(1).double()) for part in x.split(4096)]).to(x.dtype)


def bars_entropy(side=4, flip=0.05):
    """Entropy of the bars, side at most 4. Returns two numbers: nats per image, bits per pixel."""
    images = torch.tensor(list(itertools.product((0.0, 1.0), repeat=side * side)), dtype=torch.float64)
    log_p = bars_log_prob(images.reshape(-1, 1, side, side), flip)
    nats = torch.dot(-log_p, torch.exp(log_p))
    return nats, nats / math.log(2) / images.shape[1]

# %% theory-receptive-solution
def wavenet_receptive_field(kernel_size, dilations):
    """Number of inputs that one output of a stack of causal convolutions depends on."""
    return 1 + (kernel_size - 1) * sum(dilations)


def pixelcnn_field_size(n_layers):
    """Number of pixels that one logit depends on: a 3 x 3 type-A layer, then n_layers - 1 of type B."""
    return n_layers + 3 * n_layers * (n_layers + 1) // 2

# %% made-masks-solution
def made_masks(n_dims, hidden_sizes):
    """Masks of a MADE in natural order."""
    degrees = [torch.arange(1, n_dims + 1)]
    degrees += [torch.arange(size) % (n_dims - 1) + 1 for size in hidden_sizes]
    masks = [(b[:, None] >= a[None, :]).float() for a, b in zip(degrees, degrees[1:])]
    return masks + [(degrees[0][:, None] > degrees[-1][None, :]).float()]


class MaskedLinear(nn.Linear):
    """A linear layer whose weights are multiplied by a fixed mask (out_features, in_features)."""

    def __init__(self, mask):
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.to(torch.uint8))

    def forward(self, x):
        return F.linear(x, self.mask * self.weight, self.bias)

# %% made-log-prob-solution
def log_prob(net, x):
    """Log-likelihood of vectors x (B, n) or images (B, 1, H, W). Returns (B,), nats, summed over pixels."""
    logits = net(x)
    normaliser = torch.logaddexp(logits, torch.zeros_like(logits))
    return torch.einsum("bi,bi->b", x.flatten(1), logits.flatten(1)) - normaliser.flatten(1).sum(1)

# %% made-sampling-solution
@torch.no_grad()
def made_sample(net, n_samples, n_dims):
    """Draw vectors pixel by pixel. Returns (n_samples, n_dims) float32 zeros and ones."""
    # logistic noise: white where logit + noise > 0
    u = torch.rand(n_samples, n_dims, dtype=torch.float64)
    noise, x = torch.logit(u), torch.zeros(n_samples, n_dims)
    for i, column in enumerate(noise.unbind(1)):
        x[:, i] = (net(x)[:, i] + column > 0).float()
    return x

# %% pixelcnn-mask-solution
def conv_mask(mask_type, kernel_size):
    """The mask of a kernel of odd size. Returns (kernel_size, kernel_size) floats 0 or 1."""
    if mask_type not in ("A", "B"):
        raise ValueError(f'mask_type must be "A" or "B", got {mask_type!r}')
    mask, middle = torch.zeros(kernel_size, kernel_size), kernel_size // 2
    mask[:middle] = 1
    mask[middle, :middle] = 1
    if mask_type == "B":
        mask[middle, middle] = 1
    return mask


class MaskedConv2d(nn.Conv2d):
    """A convolution that keeps height and width and sees only what `conv_mask` allows."""

    def __init__(self, mask_type, in_channels, out_channels, kernel_size):
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.register_buffer("hidden", conv_mask(mask_type, kernel_size) == 0)

    def forward(self, x):
        return F.conv2d(x, self.weight.masked_fill(self.hidden, 0.0), self.bias, padding="same")

# %% pixelcnn-log-prob-solution
class PixelCNN(nn.Module):
    """PixelCNN (van den Oord et al., 2016) for binary images: (B, 1, H, W) to logits (B, 1, H, W)."""

    def __init__(self, channels=32, n_layers=4, kernel_size=3):
        super().__init__()
        self.colour = nn.Embedding(2, channels)
        self.masked = nn.ModuleList([MaskedConv2d("B" if i else "A", channels, channels, kernel_size) for i in range(n_layers)])
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(channels, 1, 1))

    def forward(self, x):
        h = self.masked[0](self.colour(x[:, 0].long()).permute(0, 3, 1, 2))
        for layer in self.masked[1:]:
            h = h + layer(torch.relu(h))
        return self.head(h)


def nll_loss(net, x, unit="nats"):
    """Negative log-likelihood, mean over the batch: nats per image, or with unit="bits" bits per pixel."""
    loss = -log_prob(net, x).mean()
    if unit == "bits":
        loss = loss / (x[0].numel() * math.log(2))
    return loss

# %% pixelcnn-sampling-solution
@torch.no_grad()
def sample_images(net, n_samples, height, width):
    """Draw images in raster order. Returns (n_samples, 1, height, width) float32 zeros and ones."""
    noise = torch.logit(torch.rand(n_samples, 1, height, width, dtype=torch.float64))
    x = torch.zeros(n_samples, 1, height, width)
    for place in itertools.product(range(height), range(width)):
        at = (slice(None), slice(None), *place)
        x[at] = (net(x)[at].double() > -noise[at]).float()
    return x

# %% pixelcnn-complete-solution
@torch.no_grad()
def complete_images(net, x, known):
    """Fill in the unknown pixels in raster order."""
    out = x.masked_fill(~known, 0.0)
    for i in range(x[0].numel()):
        at = (slice(None), 0, i // x.shape[3], i % x.shape[3])
        score = net(out)[at]
        noise = torch.distributions.Gumbel(0.0, 1.0).sample((2, len(x))).to(x.dtype)
        out[at] = torch.where(known[at], out[at], (score + noise[1] > noise[0]).to(x.dtype))
    return out

# %% pixelcnn-field-solution
def receptive_field(net, height, width, row, column):
    """Pixels that the logit at (row, column) depends on. Returns bool (height, width)."""
    x = (torch.rand(256, 1, height, width) < torch.rand(256, 1, 1, 1)).float().requires_grad_()
    (gradient,) = torch.autograd.grad(net(x)[:, 0, row, column].sum(), x, allow_unused=True)
    if gradient is None:  # a network that looks its pixels up in a table
        return torch.zeros(height, width, dtype=torch.bool)
    return (gradient != 0).flatten(0, 1).any(0)

# %% transformer-mask-solution
def causal_mask(n_queries, n_keys):
    """Who may attend to whom; queries are the last positions. Returns bool (n_queries, n_keys)."""
    return torch.tril(torch.ones(n_queries, n_keys, dtype=torch.bool), diagonal=n_keys - n_queries)


def attention(q, k, v):
    """Causal attention: q (B, heads, Tq, d), k and v (B, heads, Tk, d). Returns (B, heads, Tq, d)."""
    B, heads, Tq, d = q.shape
    q, k, v = (t.reshape(B * heads, -1, d) for t in (q, k, v))
    bias = torch.zeros(Tq, k.shape[1], dtype=q.dtype).masked_fill(causal_mask(Tq, k.shape[1]).logical_not(), -1e30)
    scores = torch.baddbmm(bias, q, k.mT, alpha=1 / math.sqrt(d))
    return torch.bmm(scores.softmax(2), v).view(B, heads, Tq, d)

# %% transformer-log-prob-solution
START = 2  # the tokens are 0, 1 and START


def shift_right(x):
    """Pixels x (B, n) of zeros and ones to tokens (START, x_0, ..., x_{n-2}). Returns long (B, n)."""
    return F.pad(x.long(), (1, -1), value=START)


from dataclasses import dataclass


@dataclass(frozen=True)
class Memory:
    keys: torch.Tensor
    values: torch.Tensor
    length: int


class Block(nn.Module):
    """One layer of the transformer: h (B, T, width) to h (B, T, width)."""

    def __init__(self, width, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.project = nn.Conv1d(width, 3 * width, 1)
        self.merge = nn.Conv1d(width, width, 1)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Conv1d(width, 3 * width, 1), nn.Hardswish(), nn.Conv1d(3 * width, width, 1))

    def forward(self, h, past=None):
        B, T, width = h.shape
        qkv = self.project(self.norm1(h).mT).view(B, 3, self.n_heads, -1, T).mT
        q, k, v = qkv.unbind(1)
        if past is not None:
            k, v = torch.cat([past.keys, k], 2), torch.cat([past.values, v], 2)
        mixed = attention(q, k, v).mT.reshape(B, width, T)
        h = h + self.merge(mixed).mT
        h = h + self.mlp(self.norm2(h).mT).mT
        return h, Memory(k, v, k.shape[2])


class ImageTransformer(nn.Module):
    """A causal transformer over the pixels in raster order: x (B, n) to logits (B, n)."""

    def __init__(self, n_pixels, width=32, n_heads=2, n_layers=2):
        super().__init__()
        self.token = nn.Embedding(3, width)
        self.position = nn.Embedding(n_pixels, width)
        self.blocks = nn.ModuleList([Block(width, n_heads) for _ in range(n_layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1)

    def embed(self, tokens, first=0):
        """Tokens (B, T) at the positions first, first + 1, ... Returns (B, T, width)."""
        positions = torch.arange(first, first + tokens.shape[1], device=tokens.device)
        return self.token(tokens) + self.position(positions)

    def forward(self, x):
        """x: (B, n). Returns logits (B, n)."""
        h = self.embed(shift_right(x))
        for block in self.blocks:
            h, _ = block(h)
        return self.head(self.norm(h))[..., 0]

# %% transformer-cache-solution
@dataclass
class Cache:
    memories: list

    def __len__(self):
        return 0 if self.memories[0] is None else self.memories[0].length


def transformer_step(model, token, past=None):
    """Feed one token per image."""
    cache = Cache([None for _ in model.blocks]) if past is None else past
    h = model.embed(token[:, None], len(cache))
    fresh = []
    for block, memory in zip(model.blocks, cache.memories):
        h, memory = block(h, memory)
        fresh.append(memory)
    return model.head(model.norm(h))[:, 0, 0], Cache(fresh)


@torch.no_grad()
def sample_cached(model, u):
    """Draw images from uniform numbers u (B, n): pixel i is 1 where u_i < p_i. Returns (B, n)."""
    past, pixels = None, []
    token = torch.tensor([START] * u.shape[0])
    for column in u.T:
        logit, past = transformer_step(model, token, past)
        token = torch.lt(column, logit.sigmoid()).long()
        pixels.append(token.to(u.dtype))
    return torch.stack(pixels, dim=1)

# %% train-bars-solution
def make_bars_model():
    """A new, untrained network for 4 x 4 bars; change it as you like."""
    return PixelCNN(channels=20, n_layers=3, kernel_size=7)


def fit(net, images, steps, batch_size, lr):
    """Train net in place by minimising nll_loss on random batches of images."""
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps)
    losses = []
    for _ in range(steps):
        batch = images[torch.randint(len(images), (batch_size,))]
        loss = nll_loss(net, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses

# %% train-bars-run
# Train on `own_bars`. Bind the trained network to `bars_model` and the list of losses to `bars_losses`.
with when_written():
    torch.manual_seed(0)
    bars_model = make_bars_model()
    bars_losses = fit(bars_model, own_bars, steps=400, batch_size=128, lr=0.01)

# %% train-digits-solution
def make_digits_model():
    """A new, untrained network for 8 x 8 digits."""
    return PixelCNN(kernel_size=5, n_layers=3)

# %% train-digits-run
# Train on `digits_train`. Bind the trained network to `digits_model` and the list of losses to `digits_losses`.
with when_written():
    torch.manual_seed(0)
    digits_model = make_digits_model()
    digits_losses = fit(digits_model, digits_train, steps=400, batch_size=64, lr=0.008)
    torch.save(digits_model.state_dict(), "digits_model.pt")
