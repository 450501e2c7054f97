"""Reference implementations of every model family of the course: hidden from students, the yardstick of the checks.

One file a family, in the folder of its class: `foundations`, `autoregressive`, `latent`, `flows`, `energy`,
`adversarial`, `evaluation`, `diffusion`, `flow_matching`. What several families share lives once, in `parts`;
answers known without any model, for checks, in `exact`. Imports form a ladder: parts, then families, then recipes.

    python -m reference_models                       # the catalogue: every family, its paper, what verifies it
    from reference_models.flows import MAF           # every folder gives its classes
    python -m reference_models train realnvp         # train one on data of known entropy, with figures and numbers

Conventions of the whole library: log-probabilities in nats, one per example, summed over dimensions; losses are means
over the batch; randomness enters by argument (`generator`, `noise`, `t`); new tensors take device and dtype from an
input or a parameter; bad input raises ValueError with the value in hand. What the families have in common is written
down as protocols in `reference_models.protocols`.
"""
