"""Optimal pairs by a Hungarian method of its own; coefficients of the SDEs by other formulas."""

# %% ot-solution
def ot_pairing(x_0, x_1):
    cost = torch.cdist(x_0.reshape(len(x_0), -1).double(), x_1.reshape(len(x_1), -1).double()).square().tolist()
    n = len(cost)
    u, v, row_of, way = [0.0] * (n + 1), [0.0] * (n + 1), [0] * (n + 1), [0] * (n + 1)
    for i in range(1, n + 1):
        row_of[0], j0 = i, 0
        least, used = [math.inf] * (n + 1), [False] * (n + 1)
        while row_of[j0]:
            used[j0], i0, delta, j1 = True, row_of[j0], math.inf, 0
            for j in range(1, n + 1):
                if not used[j]:
                    rest = cost[i0 - 1][j - 1] - u[i0] - v[j]
                    if rest < least[j]:
                        least[j], way[j] = rest, j0
                    if least[j] < delta:
                        delta, j1 = least[j], j
            for j in range(n + 1):
                if used[j]:
                    u[row_of[j]] += delta
                    v[j] -= delta
                else:
                    least[j] -= delta
            j0 = j1
        while j0:
            row_of[j0], j0 = row_of[way[j0]], way[j0]
    order = torch.empty(n, dtype=torch.long)
    for j in range(1, n + 1):
        order[row_of[j] - 1] = j - 1
    return order


def ot_fm_batch(x_0, x_1, y):
    order = ot_pairing(x_0, x_1)
    return x_0.clone(), x_1.index_select(0, order), torch.stack([y[i] for i in order])

# %% sde-marginals-solution
def vp_coefficients(t, beta_min, beta_max):
    t = torch.as_tensor(t)
    t = t if t.dtype == torch.float64 else t.float()
    decay = torch.exp(-t * beta_min - t * t * (beta_max - beta_min) / 2)
    return (1 - t) * beta_min + t * beta_max, decay**0.5, torch.sqrt(1 - decay)


def ve_coefficients(t, sigma_min, sigma_max):
    t = torch.as_tensor(t)
    sigma = sigma_min * (sigma_max / sigma_min) ** t
    return sigma * math.log((sigma_max / sigma_min) ** 2) ** 0.5, 1 + 0 * sigma, (sigma**2 - sigma_min**2).clamp(min=0) ** 0.5


def vp_step(x, t, dt, noise, beta_min, beta_max):
    beta = torch.as_tensor(vp_coefficients(t, beta_min, beta_max)[0]).to(x.dtype)
    beta = beta.expand(len(x)).reshape([len(x)] + [1] * (x.dim() - 1))
    return (1 - beta * dt / 2) * x + torch.sqrt(beta) * dt**0.5 * noise


def ve_step(x, t, dt, noise, sigma_min, sigma_max):
    g = torch.as_tensor(ve_coefficients(t, sigma_min, sigma_max)[0]).to(x.dtype)
    return x + g.expand(len(x)).reshape([len(x)] + [1] * (x.dim() - 1)) * dt**0.5 * noise
