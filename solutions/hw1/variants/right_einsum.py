"""Writes attention with einsum and an additive mask, keeps x_t in one tensor, uses other functions of PyTorch throughout."""

# %% made-log-prob-solution
def log_prob(net, x):
    losses = F.binary_cross_entropy_with_logits(net(x), x, reduction="none")
    return torch.einsum("bn->b", -losses.reshape(len(x), -1))

# %% made-sampling-solution
def made_sample(net, n_samples, n_dims):
    with torch.inference_mode():
        x = torch.zeros(n_samples, n_dims)
        for i in range(n_dims):
            logit = net(x).select(1, i)
            pair = torch.stack([torch.zeros_like(logit), logit], 1).softmax(1)
            x.select(1, i).copy_(torch.multinomial(pair, 1).squeeze(1))
    return x.clone()

# %% pixelcnn-sampling-solution
@torch.no_grad()
def sample_images(net, n_samples, height, width, temperature=1.0):
    flat = torch.zeros(n_samples, height * width)
    for i in range(height * width):
        logits = net(flat.view(-1, 1, height, width)).reshape(n_samples, -1)[:, i] / temperature
        flat[:, i] = torch.distributions.Bernoulli(logits=logits).sample()
    return flat.view(n_samples, 1, height, width)

# %% pixelcnn-complete-solution
@torch.no_grad()
def complete_images(net, x, known):
    keep = known.to(x.dtype)
    base = torch.nan_to_num(x) * keep
    fresh = torch.zeros_like(x)
    for r, c in itertools.product(range(x.shape[2]), range(x.shape[3])):
        logits = net(base + fresh)[..., r, c]
        logistic = torch.rand_like(logits).logit()
        fresh[..., r, c] = (logits > logistic).to(x.dtype) * (1 - keep[..., r, c])
    return base + fresh

# %% pixelcnn-field-solution
def receptive_field(net, height, width, row, column, batch=64):
    x = torch.randn(batch, 1, height, width)
    jacobian = torch.func.vjp(lambda images: net(images)[:, 0, row, column], x)[1](torch.ones(batch))[0]
    return jacobian.abs().amax(dim=(0, 1)) > 0

# %% transformer-mask-solution
def causal_mask(n_queries, n_keys):
    return torch.ones(n_queries, n_keys, dtype=torch.bool).tril(diagonal=n_keys - n_queries)

def attention(q, k, v):
    scores = torch.einsum("bhid,bhjd->bhij", q / q.shape[-1] ** 0.5, k)
    bias = torch.zeros(q.shape[2], k.shape[2], dtype=q.dtype)
    bias[~causal_mask(q.shape[2], k.shape[2])] = float("-inf")
    scores = scores + bias
    scores = (scores - scores.amax(-1, keepdim=True)).exp()
    return torch.einsum("bhij,bhjd->bhid", scores / scores.sum(-1, keepdim=True), v)

# %% transformer-cache-solution
def transformer_step(model, token, past=None):
    first = past[0][0].size(2) if past else 0
    h, new = model.embed(token.unsqueeze(1), first), []
    for block, memory in zip(model.blocks, past or [None] * len(model.blocks)):
        h, memory = block(h, memory)
        new = [*new, memory]
    return model.head(model.norm(h)).flatten(), new

def sample_cached(model, u):
    x = torch.zeros_like(u)
    token, past = torch.tensor([START]).repeat(len(u)), None
    with torch.no_grad():
        for i in range(u.size(1)):
            logit, past = transformer_step(model, token, past)
            x[:, i] = torch.where(u[:, i] < logit.sigmoid(), 1.0, 0.0).to(u.dtype)
            token = x[:, i].long()
    return x
