"""Somebody who had only the released files, and did not see a check before the end."""


# %% theory-entropy-solution
def _bar_patterns(side, dtype):
    """All 2 * 2^s noiseless pictures, one a row: (2 * 2^s, s * s)."""
    colours = torch.tensor(list(itertools.product([0.0, 1.0], repeat=side)), dtype=dtype)
    rows = colours[:, :, None].expand(-1, side, side)
    columns = colours[:, None, :].expand(-1, side, side)
    return torch.cat([rows, columns]).reshape(-1, side * side)


def bars_log_prob(x, flip=0.05):
    """Exact log-probability of bar images.

    x: (B, 1, s, s) of zeros and ones; flip: probability of a flip, in (0, 1).
    Returns (B,), nats.
    """
    side = x.shape[-1]
    patterns = _bar_patterns(side, x.dtype)
    x = x.flatten(1)
    flipped = x @ (1 - patterns).T + (1 - x) @ patterns.T  # (B, 2 * 2^s)
    log_joint = flipped * math.log(flip) + (side * side - flipped) * math.log1p(-flip)
    return torch.logsumexp(log_joint, dim=1) - (side + 1) * math.log(2)


def bars_entropy(side=4, flip=0.05):
    """Entropy of the bars, side at most 4. Returns two numbers: nats per image, bits per pixel."""
    n = side * side
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)
    log_p = bars_log_prob(every.view(-1, 1, side, side), flip)
    nats = -(log_p.exp() * log_p).sum().item()
    return nats, nats / (n * math.log(2))


# %% theory-receptive-solution
def wavenet_receptive_field(kernel_size, dilations):
    """Number of inputs that one output of a stack of causal convolutions depends on."""
    return 1 + (kernel_size - 1) * sum(dilations)


def pixelcnn_field_size(n_layers):
    """Number of pixels that one logit depends on: a 3 x 3 type-A layer, then n_layers - 1 of type B."""
    # own row: n_layers to the left; d rows above: n_layers to the left, the middle, d to the right
    return n_layers + sum(n_layers + 1 + d for d in range(1, n_layers + 1))


# %% made-masks-solution
def made_masks(n_dims, hidden_sizes):
    """Masks of a MADE in natural order.

    n_dims: number of pixels n >= 2; hidden_sizes: sizes of the hidden layers.
    Returns a list of len(hidden_sizes) + 1 float tensors of zeros and ones, of shapes (out, in).
    """
    degrees = torch.arange(1, n_dims + 1)
    previous, masks = degrees, []
    for size in hidden_sizes:
        current = torch.arange(size) % (n_dims - 1) + 1
        masks.append((current[:, None] >= previous[None, :]).float())
        previous = current
    masks.append((degrees[:, None] > previous[None, :]).float())
    return masks


class MaskedLinear(nn.Linear):
    """A linear layer whose weights are multiplied by a fixed mask (out_features, in_features)."""

    def __init__(self, mask):
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.clone())

    def forward(self, x):
        """x: (B, in_features). Returns (B, out_features)."""
        return F.linear(x, self.mask * self.weight, self.bias)


# %% made-log-prob-solution
def log_prob(net, x):
    """Log-likelihood of vectors x (B, n) or images (B, 1, H, W). Returns (B,), nats, summed over pixels."""
    return -F.binary_cross_entropy_with_logits(net(x), x, reduction="none").flatten(1).sum(1)


# %% made-sampling-solution
@torch.no_grad()
def made_sample(net, n_samples, n_dims):
    """Draw vectors pixel by pixel. Returns (n_samples, n_dims) float32 zeros and ones."""
    x = torch.zeros(n_samples, n_dims)
    for i in range(n_dims):
        x[:, i] = torch.bernoulli(torch.sigmoid(net(x)[:, i]))
    return x


# %% pixelcnn-mask-solution
def conv_mask(mask_type, kernel_size):
    """The mask of a kernel of odd size. Returns (kernel_size, kernel_size) floats 0 or 1."""
    if mask_type not in ("A", "B"):
        raise ValueError(f'mask_type must be "A" or "B", got {mask_type!r}')
    place = torch.arange(kernel_size**2).view(kernel_size, kernel_size)
    centre = kernel_size**2 // 2
    return (place < centre + (mask_type == "B")).float()


class MaskedConv2d(nn.Conv2d):
    """A convolution that keeps height and width and sees only what `conv_mask` allows."""

    def __init__(self, mask_type, in_channels, out_channels, kernel_size):
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.register_buffer("mask", conv_mask(mask_type, kernel_size))

    def forward(self, x):
        """x: (B, in_channels, H, W). Returns (B, out_channels, H, W)."""
        return F.conv2d(x, self.mask * self.weight, self.bias, padding=self.padding)


# %% pixelcnn-log-prob-solution
class PixelCNN(nn.Module):
    """PixelCNN (van den Oord et al., 2016) for binary images: (B, 1, H, W) to logits (B, 1, H, W)."""

    def __init__(self, channels=32, n_layers=4, kernel_size=3):
        super().__init__()
        self.first = MaskedConv2d("A", 1, channels, kernel_size)
        self.others = nn.ModuleList([MaskedConv2d("B", channels, channels, kernel_size) for _ in range(n_layers - 1)])
        self.head = nn.Sequential(nn.ReLU(), nn.Conv2d(channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, 1, 1))

    def forward(self, x):
        h = self.first(2 * x - 1)
        for conv in self.others:
            h = h + conv(F.relu(h))
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
    x = torch.zeros(n_samples, 1, height, width)
    for row in range(height):
        for column in range(width):
            x[:, 0, row, column] = torch.bernoulli(torch.sigmoid(net(x)[:, 0, row, column]))
    return x


# %% pixelcnn-complete-solution
@torch.no_grad()
def complete_images(net, x, known):
    """Fill in the unknown pixels in raster order.

    x: (B, 1, H, W); known: bool (B, 1, H, W), True where a pixel of x is given.
    Returns a new tensor (B, 1, H, W) of the dtype of x.
    """
    result = torch.where(known, x, torch.zeros_like(x))
    for row in range(x.shape[2]):
        for column in range(x.shape[3]):
            drawn = torch.bernoulli(torch.sigmoid(net(result)[:, 0, row, column])).to(x.dtype)
            result[:, 0, row, column] = torch.where(known[:, 0, row, column], result[:, 0, row, column], drawn)
    return result


# %% pixelcnn-field-solution
def receptive_field(net, height, width, row, column):
    """Pixels that the logit at (row, column) depends on. Returns bool (height, width)."""
    x = torch.bernoulli(torch.full((64, 1, height, width), 0.5)).requires_grad_()
    logit = net(x)[:, 0, row, column].sum()
    (gradient,) = torch.autograd.grad(logit, x)
    return (gradient != 0).any(dim=0)[0]


# %% transformer-mask-solution
def causal_mask(n_queries, n_keys):
    """Who may attend to whom; queries are the last positions. Returns bool (n_queries, n_keys)."""
    return torch.ones(n_queries, n_keys, dtype=torch.bool).tril(n_keys - n_queries)


def attention(q, k, v):
    """Causal attention: q (B, heads, Tq, d), k and v (B, heads, Tk, d). Returns (B, heads, Tq, d)."""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    allowed = causal_mask(q.shape[-2], k.shape[-2]).to(q.device)
    return scores.masked_fill(~allowed, -math.inf).softmax(dim=-1) @ v


# %% transformer-log-prob-solution
START = 2  # the tokens are 0, 1 and START


def shift_right(x):
    """Pixels x (B, n) of zeros and ones to tokens (START, x_0, ..., x_{n-2}). Returns long (B, n)."""
    start = torch.full((x.shape[0], 1), START, dtype=torch.long, device=x.device)
    return torch.cat([start, x[:, :-1].long()], dim=1)


class Block(nn.Module):
    """One layer of the transformer: h (B, T, width) to h (B, T, width)."""

    def __init__(self, width, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, h, past=None):
        """past: None, or what the block returned for the earlier positions. Returns the new h and the new past."""
        B, T, width = h.shape
        q, k, v = self.qkv(self.norm1(h)).view(B, T, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=2), torch.cat([past[1], v], dim=2)
        mixed = attention(q, k, v).transpose(1, 2).reshape(B, T, width)
        h = h + self.out(mixed)
        h = h + self.mlp(self.norm2(h))
        return h, (k, v)


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
        return self.head(self.norm(h)).squeeze(-1)


# %% transformer-cache-solution
def transformer_step(model, token, past=None):
    """Feed one token per image.

    token: long (B,); past: None at the start, else what the last step returned.
    Returns the logits (B,) of the pixel that comes next, and the new past.
    """
    position, block_pasts = (0, [None] * len(model.blocks)) if past is None else past
    h = model.embed(token[:, None], first=position)
    new_pasts = []
    for block, block_past in zip(model.blocks, block_pasts):
        h, new_past = block(h, block_past)
        new_pasts.append(new_past)
    return model.head(model.norm(h))[:, 0, 0], (position + 1, new_pasts)


@torch.no_grad()
def sample_cached(model, u):
    """Draw images from uniform numbers u (B, n): pixel i is 1 where u_i < p_i. Returns (B, n)."""
    x, past = torch.zeros_like(u), None
    token = torch.full((u.shape[0],), START, dtype=torch.long, device=u.device)
    for i in range(u.shape[1]):
        logits, past = transformer_step(model, token, past)
        x[:, i] = (u[:, i] < torch.sigmoid(logits)).to(u.dtype)
        token = x[:, i].long()
    return x


# %% train-bars-solution
def make_bars_model():
    """A new, untrained network for 4 x 4 bars; change it as you like."""
    return PixelCNN(channels=24, n_layers=3, kernel_size=5)


def fit(net, images, steps, batch_size, lr):
    """Train net in place by minimising nll_loss on random batches of images (N, 1, H, W).

    Returns the list of losses, one number (nats per image) for each step.
    """
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps)
    losses = []
    net.train()
    for _ in range(steps):
        batch = images[torch.randint(len(images), (batch_size,))]
        loss = nll_loss(net, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    net.eval()
    return losses


# %% train-bars-run
# Train on `own_bars`. Bind the trained network to `bars_model` and the list of losses to `bars_losses`.
with when_written():
    torch.manual_seed(0)
    bars_model = make_bars_model()
    bars_losses = fit(bars_model, own_bars, steps=600, batch_size=128, lr=1e-2)
    print(f"last 50 steps: {np.mean(bars_losses[-50:]):.2f} nats per image")


# %% train-digits-solution
def make_digits_model():
    """A new, untrained network for 8 x 8 digits."""
    return PixelCNN(channels=32, n_layers=3, kernel_size=5)


# %% train-digits-run
# Train on `digits_train`. Bind the trained network to `digits_model` and the list of losses to `digits_losses`.
with when_written():
    torch.manual_seed(0)
    digits_model = make_digits_model()
    digits_losses = fit(digits_model, digits_train, steps=600, batch_size=64, lr=1e-2)
    torch.save(digits_model.state_dict(), "digits_model.pt")
