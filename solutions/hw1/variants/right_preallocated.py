"""A cache with room for all positions, tokens through one-hot vectors, heads that are modules of their own."""

# %% transformer-log-prob-solution
START = 2


def shift_right(x):
    return torch.nn.functional.pad(x, (1, 0), value=START)[:, :-1].long()


class Head(nn.Module):
    def __init__(self, width, size):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(width, size), nn.Linear(width, size), nn.Linear(width, size)

    def forward(self, x, room, start):
        stop = start + x.shape[1]
        room = room.clone()
        room[0, :, start:stop], room[1, :, start:stop] = self.k(x), self.v(x)
        answer = attention(self.q(x)[:, None], room[0, :, None, :stop], room[1, :, None, :stop])
        return answer[:, 0], room


class Block(nn.Module):
    def __init__(self, width, n_heads):
        super().__init__()
        self.size = width // n_heads
        self.heads = nn.ModuleList([Head(width, self.size) for _ in range(n_heads)])
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))

    def forward(self, h, past=None):
        start, rooms = past or (0, [h.new_zeros(2, len(h), 80, self.size)] * len(self.heads))
        answers, new = zip(*(head(self.first(h), room, start) for head, room in zip(self.heads, rooms)))
        h = h + self.out(torch.cat(answers, dim=-1))
        return h + self.mlp(self.second(h)), (start + h.shape[1], list(new))


class ImageTransformer(nn.Module):
    def __init__(self, n_pixels, width=32, n_heads=2, n_layers=2):
        super().__init__()
        self.token = nn.Linear(3, width, bias=False)
        self.position = nn.Parameter(0.1 * torch.randn(n_pixels, width))
        self.blocks = nn.ModuleList([Block(width, n_heads) for _ in range(n_layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1)

    def embed(self, tokens, first=0):
        one_hot = F.one_hot(tokens, 3).to(self.position.dtype)
        return self.token(one_hot) + self.position[first : first + tokens.shape[1]]

    def forward(self, x):
        h = self.embed(shift_right(x))
        for block in self.blocks:
            h = block(h)[0]
        return self.head(self.norm(h))[..., 0]


# %% transformer-cache-solution
def transformer_step(model, token, past=None):
    position = past[0][0] if past else 0
    h, present = model.embed(token[:, None], first=position), []
    for index, block in enumerate(model.blocks):
        h, memory = block(h, past[index] if past else None)
        present.append(memory)
    return model.head(model.norm(h))[:, 0, 0], present


@torch.no_grad()
def sample_cached(model, u):
    token, past, pixels = torch.full((len(u),), START), None, []
    for column in u.T:
        logit, past = transformer_step(model, token, past)
        token = (column < torch.sigmoid(logit)).long()
        pixels.append(token)
    return torch.stack(pixels, dim=1).to(u.dtype)
