"""Writes everything with plain loops and Python numbers, and draws by comparing with uniform numbers."""

# %% theory-entropy-solution
def bars_log_prob(x, flip=0.05):
    side = x.shape[-1]
    terms = []
    for colours in itertools.product([0, 1], repeat=side):
        for orientation in ("rows", "columns"):
            log_p = torch.zeros(len(x), dtype=x.dtype)
            for r in range(side):
                for c in range(side):
                    expected = colours[r] if orientation == "rows" else colours[c]
                    same = x[:, 0, r, c] == expected
                    log_p = log_p + torch.where(same, math.log1p(-flip), math.log(flip)).to(x.dtype)
            terms.append(log_p - (side + 1) * math.log(2))
    return torch.stack(terms).logsumexp(0)

def bars_entropy(side=4, flip=0.05):
    total = 0.0
    for part in torch.tensor(list(itertools.product([0.0, 1.0], repeat=side**2))).split(4096):
        log_p = bars_log_prob(part.view(-1, 1, side, side).double(), flip)
        total -= float((log_p.exp() * log_p).sum())
    return [total, total / side**2 / math.log(2)]

# %% theory-receptive-solution
def wavenet_receptive_field(kernel_size, dilations):
    size = 1
    for dilation in dilations:
        size += dilation * (kernel_size - 1)
    return size

def pixelcnn_field_size(n_layers):
    return sum([n_layers] + [n_layers + 1 + above for above in range(1, n_layers + 1)])

# %% made-masks-solution
def made_masks(n_dims, hidden_sizes):
    degrees = [list(range(n_dims))]
    for size in hidden_sizes:
        degrees.append([round(k * (n_dims - 2) / max(size - 1, 1)) for k in range(size)])
    degrees.append(list(range(n_dims)))
    masks = []
    for layer in range(len(degrees) - 1):
        last = layer == len(degrees) - 2
        mask = torch.zeros(len(degrees[layer + 1]), len(degrees[layer]))
        for i, above in enumerate(degrees[layer + 1]):
            for j, below in enumerate(degrees[layer]):
                if above > below or (above == below and not last):
                    mask[i, j] = 1.0
        masks.append(mask)
    return masks

class MaskedLinear(nn.Linear):
    def __init__(self, mask):
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask)

    def forward(self, x):
        return x @ (self.mask * self.weight).T + self.bias

# %% made-sampling-solution
def made_sample(net, n_samples, n_dims):
    pixels = []
    with torch.no_grad():
        for i in range(n_dims):
            x = torch.zeros(n_samples, n_dims)
            for j, pixel in enumerate(pixels):
                x[:, j] = pixel
            u = torch.rand(n_samples)
            pixels.append((u < net(x)[:, i].sigmoid()).float())
    return torch.stack(pixels, 1)

# %% pixelcnn-mask-solution
def conv_mask(mask_type, kernel_size):
    mask = torch.zeros(kernel_size, kernel_size)
    centre = kernel_size // 2
    for r in range(kernel_size):
        for c in range(kernel_size):
            if (r, c) < (centre, centre) or (mask_type == "B" and (r, c) == (centre, centre)):
                mask[r, c] = 1.0
    return mask

class MaskedConv2d(nn.Conv2d):
    def __init__(self, mask_type, in_channels, out_channels, kernel_size, **options):
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2, **options)
        self.register_buffer("mask", conv_mask(mask_type, kernel_size).expand_as(self.weight).clone())

    def forward(self, x):
        return self._conv_forward(x, self.weight * self.mask, self.bias)

# %% pixelcnn-sampling-solution
def sample_images(net, n_samples, height, width):
    noise = torch.rand(height, width, n_samples)  # all random numbers are drawn before the first pixel
    x = torch.full((n_samples, 1, height, width), 0.0)
    with torch.no_grad():
        for i in range(height * width):
            r, c = i // width, i % width
            x[:, 0, r, c] = (noise[r, c] < torch.sigmoid(net(x)[:, 0, r, c])).to(x.dtype)
    return x

# %% pixelcnn-complete-solution
@torch.no_grad()
def complete_images(net, x, known):
    result = x.clone()
    result[~known] = 0
    for r in range(x.shape[2]):
        for c in range(x.shape[3]):
            probability = net(result)[:, 0, r, c].sigmoid()
            for b in range(len(x)) if len(x) < 50 else []:
                if not known[b, 0, r, c]:
                    result[b, 0, r, c] = float(torch.rand(()) < probability[b])
            if len(x) >= 50:
                unknown = ~known[:, 0, r, c]
                draw = (torch.rand(len(x)) < probability).to(x.dtype)
                result[unknown, 0, r, c] = draw[unknown]
    return result

# %% pixelcnn-field-solution
def receptive_field(net, height, width, row, column):
    seen = torch.zeros(height, width, dtype=torch.bool)
    for _ in range(40):
        x = (torch.rand(1, 1, height, width) < 0.5).float().requires_grad_()
        gradient = torch.autograd.grad(net(x)[0, 0, row, column], x, allow_unused=True)[0]
        if gradient is not None:
            seen |= gradient[0, 0] != 0
    return seen
