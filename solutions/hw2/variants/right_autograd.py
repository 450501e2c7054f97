"""Every log-determinant outside the trained flows is slogdet of a Jacobian made by torch.func, slow and right."""

# %% planar-solution
def volume(fn, x):
    """ln |det| of the Jacobian of fn at each row of x, whatever shape a sample has."""
    def single(v):
        return fn(v.unsqueeze(0)).squeeze(0)

    with torch.enable_grad():
        J = torch.func.vmap(torch.func.jacrev(single))(x)
    D = x[0].numel()
    return torch.linalg.slogdet(J.reshape(len(x), D, D)).logabsdet

def planar_u_hat(u, w):
    a = torch.dot(u, w)
    m = torch.logaddexp(torch.zeros_like(a), a) - 1
    return u + (m - a) / w.square().sum() * w

def planar_forward(x, u, w, b):
    move = lambda rows: rows + torch.outer(torch.tanh(rows @ w + b), planar_u_hat(u, w))
    return move(x), volume(move, x)

# %% maf-solution
def maf_forward(x, net):
    mean, log_std = net(x)
    return (x - mean) / torch.exp(log_std), torch.log(torch.exp(-log_std).prod(1))

def maf_inverse(z, net):
    with torch.no_grad():
        x = z.clone()
        for _ in range(z.shape[1]):
            mean, log_std = net(x)
            x = mean + z * log_std.exp()
        return x, net(x)[1].sum(-1)

# %% iaf-solution
def iaf_inverse(z, net):
    answer = net(z)
    return torch.addcmul(answer[0], z, answer[1].exp()), answer[1].sum(-1)

@torch.no_grad()
def iaf_forward(x, net):
    z = torch.empty_like(x)
    z[:] = 0
    for i in range(x.size(1)):
        mean, log_std = net(z)
        z[:, i] = (x[:, i] - mean[:, i]) / log_std[:, i].exp()
    return z, -net(z)[1].sum(-1)
