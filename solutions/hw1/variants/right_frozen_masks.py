"""A stranger's: masks as frozen parameters, cross entropies of two classes."""

# %% theory-entropy-solution
def bars_log_prob(x, flip=0.05):
    """Exact log-probability of bar images."""
    side = x.shape[2]
    total = torch.full((len(x),), -math.inf, dtype=torch.float64)
    for colours in itertools.product([0.0, 1.0], repeat=side):
        stripe = torch.tensor(colours, dtype=torch.float64)
        for pattern in (stripe.reshape(1, 1, side, 1), stripe.reshape(1, 1, 1, side)):
            wrong = (x.double() != pattern).sum(dim=(1, 2, 3))
            total = torch.logaddexp(total, wrong * math.log(flip) + (side**2 - wrong) * math.log(1 - flip))
    return (total - (side + 1) * math.log(2)).type(x.dtype)


def bars_entropy(side=4, flip=0.05):
    """Entropy of the bars, side at most 4. Returns two numbers: nats per image, bits per pixel."""
    nats, n = 0.0, side**2
    everything = torch.tensor(list(itertools.product([0.0, 1.0], repeat=n)), dtype=torch.float64)
    for part in everything.split(8192):
        log_p = bars_log_prob(part.view(-1, 1, side, side), flip)
        nats += float(-(log_p * torch.exp(log_p)).sum())
    return nats, nats / n / math.log(2)

# %% theory-receptive-solution
def wavenet_receptive_field(kernel_size, dilations):
    """Collect the inputs one by one."""
    seen = {0}
    for d in dilations:
        seen = {t + d * tap for t in seen for tap in range(kernel_size)}
    return len(seen)


def pixelcnn_field_size(n_layers):
    """Walk: in which places can one be after all layers?"""
    before = [(-1, -1), (-1, 0), (-1, 1), (0, -1)]
    places = set(before)
    for _ in range(n_layers - 1):
        places |= {(r + dr, c + dc) for r, c in places for dr, dc in before}
    return len(places)

# %% made-masks-solution
def made_masks(n_dims, hidden_sizes):
    """Shapes of triangles."""
    triangle = torch.ones(n_dims, n_dims).tril()  # row m - 1: what degree m may know
    rows = [torch.arange(size).remainder(n_dims - 1) for size in hidden_sizes]
    masks = [triangle[rows[0]]]
    masks += [triangle[new][:, old] for old, new in zip(rows, rows[1:])]
    masks += [torch.ones(n_dims, n_dims).tril(-1)[:, rows[-1]]]
    return masks


class MaskedLinear(nn.Linear):
    """The mask is a frozen parameter: not trainable, moves along."""

    def __init__(self, mask):
        super().__init__(mask.shape[1], mask.shape[0])
        self.mask = nn.Parameter(mask.clone(), requires_grad=False)

    def forward(self, x):
        return torch.einsum("...j,ij,ij->...i", x, self.weight, self.mask) + self.bias

# %% made-log-prob-solution
def log_prob(net, x):
    """Log-likelihood of vectors x (B, n) or images (B, 1, H, W). Returns (B,), nats, summed over pixels."""
    logits = net(x)
    classes = torch.stack([-logits / 2, logits / 2], dim=1).flatten(2)  # (B, 2, n): black, white
    return -F.cross_entropy(classes, x.flatten(1).long(), reduction="none").sum(1)

# %% made-sampling-solution
@torch.no_grad()
def made_sample(net, n_samples, n_dims):
    """Draw vectors pixel by pixel. Returns (n_samples, n_dims) float32 zeros and ones."""
    x = torch.zeros(n_dims, n_samples)  # pixels first
    for i in range(n_dims):
        x[i].copy_(torch.bernoulli(net(x.T.contiguous()).T[i].sigmoid()))
    return x.T.contiguous()

# %% pixelcnn-mask-solution
def conv_mask(mask_type, kernel_size):
    """The mask of a kernel of odd size. Returns (kernel_size, kernel_size) floats 0 or 1."""
    if mask_type not in ("A", "B"):
        raise ValueError(f'mask_type must be "A" or "B", got {mask_type!r}')
    kept = kernel_size**2 // 2 + (mask_type == "B")
    return (torch.arange(kernel_size**2) < kept).float().view(kernel_size, kernel_size)


class MaskedConv2d(nn.Conv2d):
    """A convolution that keeps height and width and sees only what `conv_mask` allows."""

    def __init__(self, mask_type, in_channels, out_channels, kernel_size):
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.width_of_row = kernel_size // 2 + (mask_type == "B")

    def forward(self, x):
        k, h = self.kernel_size[0], self.kernel_size[0] // 2
        H, W = x.shape[2:]
        out = self.bias.view(1, -1, 1, 1).expand(len(x), -1, H, W)
        if h > 0:  # the rows above
            out = out + F.conv2d(F.pad(x, (h, h, h, 0)), self.weight[:, :, :h])[:, :, :H]
        if self.width_of_row:  # the same row
            out = out + F.conv2d(F.pad(x, (h, 0, 0, 0)), self.weight[:, :, h : h + 1, : self.width_of_row])[:, :, :, :W]
        return out

# %% pixelcnn-log-prob-solution
class PixelCNN(nn.Module):
    """PixelCNN (van den Oord et al., 2016) for binary images: (B, 1, H, W) to logits (B, 1, H, W)."""

    def __init__(self, channels=32, n_layers=4, kernel_size=3):
        super().__init__()
        def layer(i):
            return MaskedConv2d("AB"[i > 0], channels if i else 1, channels, kernel_size)

        self.stages = nn.ModuleList(map(layer, range(n_layers)))
        self.skips = nn.ModuleList(nn.Conv2d(channels, 1, 1) for _ in range(n_layers))
        self.scale = nn.Parameter(torch.ones(n_layers))

    def forward(self, x):
        h, logits = 2 * x - 1, 0
        for i, (stage, skip) in enumerate(zip(self.stages, self.skips)):
            h = stage(h) if i == 0 else h + stage(F.mish(h))
            logits = logits + self.scale[i] * skip(F.mish(h))
        return logits


def nll_loss(net, x, unit="nats"):
    """Negative log-likelihood, mean over the batch: nats per image, or with unit="bits" bits per pixel."""
    scale = {"nats": 1.0, "bits": math.log2(math.e) / math.prod(x.shape[1:])}[unit]
    return torch.sum(log_prob(net, x)) / len(x) * -scale

# %% pixelcnn-sampling-solution
@torch.no_grad()
def sample_images(net, n_samples, height, width):
    """Draw images in raster order. Returns (n_samples, 1, height, width) float32 zeros and ones."""
    image = torch.zeros(n_samples, 1, height, width)
    here = torch.eye(height * width, dtype=torch.bool).view(-1, 1, 1, height, width)
    for mask in here:  # all pixels are drawn, one of them is kept
        image = torch.where(mask, torch.distributions.Bernoulli(logits=net(image)).sample().float(), image)
    return image

# %% pixelcnn-complete-solution
@torch.no_grad()
def complete_images(net, x, known):
    """Fill in the unknown pixels in raster order."""
    B, _, H, W = x.shape
    out, u = torch.where(known, x, 0).to(x.dtype), torch.rand(x.shape, dtype=torch.float64)
    for r in range(H):
        for c in range(W):
            if known[:, 0, r, c].all():
                continue
            p = net(out)[:, 0, r, c].double().sigmoid()
            free = ~known[:, 0, r, c]
            out[free, 0, r, c] = (u[free, 0, r, c] < p[free]).to(x.dtype)
    return out

# %% pixelcnn-field-solution
def receptive_field(net, height, width, row, column):
    """Pixels that the logit at (row, column) depends on. Returns bool (height, width)."""
    images = (torch.rand(150, 1, height, width) < 0.5).float()
    total = lambda batch: net(batch)[:, 0, row, column].sum()
    jacobian = torch.autograd.functional.jacobian(total, images)
    return jacobian.count_nonzero(dim=(0, 1)) > 0

# %% transformer-mask-solution
def causal_mask(n_queries, n_keys):
    """Who may attend to whom; queries are the last positions. Returns bool (n_queries, n_keys)."""
    return torch.tensor([[j <= n_keys - n_queries + i for j in range(n_keys)] for i in range(n_queries)])


def attention(q, k, v):
    """Causal attention: q (B, heads, Tq, d), k and v (B, heads, Tk, d). Returns (B, heads, Tq, d)."""
    # fill the queries up in front: then `is_causal` is right
    missing = k.shape[2] - q.shape[2]
    whole = F.pad(q, (0, 0, missing, 0))
    return F.scaled_dot_product_attention(whole, k, v, is_causal=True)[:, :, missing:]

# %% transformer-log-prob-solution
START = 2  # the tokens are 0, 1 and START


def shift_right(x):
    """Pixels x (B, n) of zeros and ones to tokens (START, x_0, ..., x_{n-2}). Returns long (B, n)."""
    start = torch.full((x.shape[0], 1), START)
    return torch.cat([start, x[:, :-1].long()], dim=1)


class Block(nn.Module):
    """One layer of the transformer: h (B, T, width) to h (B, T, width)."""

    def __init__(self, width, n_heads):
        super().__init__()
        self.n_heads, d = n_heads, width // n_heads
        self.pre1, self.pre2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.q, self.k, self.v, self.o = (nn.Linear(width, n_heads * d) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))

    def forward(self, h, past=()):
        B, T, width = h.shape
        n = self.pre1(h)
        q, k, v = (f(n).view(B, T, self.n_heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        past = (past or ()) + tuple(zip(k.unbind(2), v.unbind(2)))
        keys, values = (torch.stack(list(column), dim=2) for column in zip(*past))
        h = h + self.o(attention(q, keys, values).transpose(1, 2).reshape(B, T, -1))
        return h + self.mlp(self.pre2(h)), past


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
        h = self.embed(shift_right(x), 0)
        for block in self.blocks:
            h = block(h)[0]
        return self.head(self.norm(h)).squeeze(-1)

# %% transformer-cache-solution
def transformer_step(model, token, past=None):
    """Feed one token per image."""
    position, pasts = past if past is not None else (0, len(model.blocks) * [None])
    h = model.embed(token.unsqueeze(1), position)
    answer = []
    for i, block in enumerate(model.blocks):
        h, now = block(h, pasts[i])
        answer.append(now)
    return model.head(model.norm(h[:, -1])).squeeze(1), (position + 1, answer)


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
    return PixelCNN(channels=24, n_layers=3, kernel_size=5)


def fit(net, images, steps, batch_size, lr):
    """Train net in place by minimising nll_loss on random batches of images."""
    dataset = torch.utils.data.TensorDataset(images)
    sampler = torch.utils.data.RandomSampler(dataset, replacement=True, num_samples=steps * batch_size)
    optimizer = torch.optim.Adamax(net.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.2, anneal_strategy="linear")
    losses = []
    net.train()
    for (batch,) in torch.utils.data.DataLoader(dataset, batch_size, sampler=sampler):
        optimizer.zero_grad()
        loss = nll_loss(net, batch)
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
    bars_losses = fit(bars_model, own_bars, steps=600, batch_size=128, lr=0.02)

# %% train-digits-solution
def make_digits_model():
    """A new, untrained network for 8 x 8 digits."""
    return PixelCNN(28, 3, 5)

# %% train-digits-run
# Train on `digits_train`. Bind the trained network to `digits_model` and the list of losses to `digits_losses`.
with when_written():
    torch.manual_seed(0)
    digits_model = make_digits_model()
    digits_losses = fit(digits_model, digits_train, steps=450, batch_size=64, lr=0.01)
    torch.save(digits_model.state_dict(), "digits_model.pt")
