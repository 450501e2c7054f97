"""Adversarial models: a generator learns from what a discriminator or critic can still tell apart.

`gan` holds the game and what every family shares: an objective (what each player minimises) and the class `GAN`, two
networks under an objective. Families change one thing each: the objective (lsgan, f_gan, wgan), what the critic pays
(wgan_gp), how its layers are bounded (spectral_norm), the networks (dcgan, sagan, biggan, and, growing as growing_gan
says, progressive_gan and stylegan), what both are told (conditional_gan), what samples must obey (constrained_gan).
Three translate images: from pairs (pix2pix), and without, both ways (cyclegan) or one (cut).

Conventions: discriminators return scores before any sigmoid, (*B, *event) to (*B,); losses are means over the batch, to
be minimised; images lie in [-1, 1]; the discriminator's loss carries no gradient to the generator, the generator's none
to the parameters of the discriminator.
"""

from reference_models.catalogue import Family, Paper

FAMILIES: tuple[Family, ...] = (
    Family(
        name="gan",
        title="GAN: minimax, non-saturating, optimal discriminator",
        paper=Paper(
            authors="Goodfellow et al.",
            year=2014,
            title="Generative Adversarial Networks",
            url="https://arxiv.org/abs/1406.2661",
        ),
        module="reference_models.adversarial.gan",
        programmes="MSAPK",
        homework=4,
        verified_against="12 states against SciPy's Jensen–Shannon distance; torch's cross-entropy; gradients by hand",
    ),
    Family(
        name="dcgan",
        title="DCGAN",
        paper=Paper(
            authors="Radford, Metz, Chintala",
            year=2016,
            title="Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
            url="https://arxiv.org/abs/1511.06434",
        ),
        module="reference_models.adversarial.dcgan",
        programmes="PK",
        homework=None,
        verified_against="the paper's rules layer by layer; parameter count by hand; moments of initial weights",
    ),
    Family(
        name="lsgan",
        title="LSGAN",
        paper=Paper(
            authors="Mao et al.",
            year=2017,
            title="Least Squares Generative Adversarial Networks",
            url="https://arxiv.org/abs/1611.04076",
        ),
        module="reference_models.adversarial.lsgan",
        programmes="",
        homework=4,
        verified_against="scipy.optimize and enumeration on 12 states: optimum, Pearson χ²; parameter count by hand",
    ),
    Family(
        name="f-gan",
        title="f-GAN",
        paper=Paper(
            authors="Nowozin, Cseke, Tomioka",
            year=2016,
            title="f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization",
            url="https://arxiv.org/abs/1606.00709",
        ),
        module="reference_models.adversarial.f_gan",
        programmes="MSAP",
        homework=4,
        verified_against="enumeration and scipy.stats divergences; conjugates by scipy.optimize; autograd",
    ),
    Family(
        name="conditional-gan",
        title="Conditional GAN",
        paper=Paper(
            authors="Mirza, Osindero",
            year=2014,
            title="Conditional Generative Adversarial Nets",
            url="https://arxiv.org/abs/1411.1784",
        ),
        module="reference_models.adversarial.conditional_gan",
        programmes="SK",
        homework=4,
        verified_against="a joint law of states and labels enumerated; maxout by loops; parameter count by hand",
    ),
    Family(
        name="constrained-gan",
        title="Constrained GAN: statistical and deterministic constraints",
        paper=Paper(
            authors="Wu et al.",
            year=2020,
            title="Enforcing Statistical Constraints in Generative Adversarial Networks "
            "for Modeling Chaotic Dynamical Systems",
            url="https://arxiv.org/abs/1905.06841",
        ),
        module="reference_models.adversarial.constrained_gan",
        programmes="K",
        homework=None,
        verified_against="numpy.cov; penalties and their gradients for linear maps in closed form",
    ),
    Family(
        name="pix2pix",
        title="pix2pix",
        paper=Paper(
            authors="Isola et al.",
            year=2017,
            title="Image-to-Image Translation with Conditional Adversarial Networks",
            url="https://arxiv.org/abs/1611.07004",
        ),
        module="reference_models.adversarial.pix2pix",
        programmes="S",
        homework=None,
        verified_against="receptive fields 1, 16, 70, 286 by autograd; parameter count by hand; losses by hand",
    ),
    Family(
        name="cyclegan",
        title="CycleGAN",
        paper=Paper(
            authors="Zhu et al.",
            year=2017,
            title="Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks",
            url="https://arxiv.org/abs/1703.10593",
        ),
        module="reference_models.adversarial.cyclegan",
        programmes="S",
        homework=4,
        verified_against="losses of known maps in closed form; symmetry under exchange; parameter count by hand",
    ),
    Family(
        name="cut",
        title="CUT: one-sided unpaired translation",
        paper=Paper(
            authors="Park et al.",
            year=2020,
            title="Contrastive Learning for Unpaired Image-to-Image Translation",
            url="https://arxiv.org/abs/2007.15651",
        ),
        module="reference_models.adversarial.cut",
        programmes="S",
        homework=None,
        verified_against="the contrastive loss by loops and in closed form; its bound on a known mutual information",
    ),
    Family(
        name="wgan",
        title="WGAN with clipping",
        paper=Paper(
            authors="Arjovsky, Chintala, Bottou",
            year=2017,
            title="Wasserstein GAN",
            url="https://arxiv.org/abs/1701.07875",
        ),
        module="reference_models.adversarial.wgan",
        programmes="MSAPK",
        homework=4,
        verified_against="scipy.stats.wasserstein_distance; POT; the best clipped linear critic in closed form",
    ),
    Family(
        name="wgan-gp",
        title="WGAN-GP",
        paper=Paper(
            authors="Gulrajani et al.",
            year=2017,
            title="Improved Training of Wasserstein GANs",
            url="https://arxiv.org/abs/1704.00028",
        ),
        module="reference_models.adversarial.wgan_gp",
        programmes="MSP",
        homework=4,
        verified_against="penalties of linear and quadratic critics and their derivatives in closed form",
    ),
    Family(
        name="spectral-norm",
        title="Spectral normalisation (SNGAN)",
        paper=Paper(
            authors="Miyato et al.",
            year=2018,
            title="Spectral Normalization for Generative Adversarial Networks",
            url="https://arxiv.org/abs/1802.05957",
        ),
        module="reference_models.adversarial.spectral_norm",
        programmes="MP",
        homework=4,
        verified_against="singular values; torch's own spectral_norm; the gradient formula by hand",
    ),
    Family(
        name="sagan",
        title="SAGAN",
        paper=Paper(
            authors="Zhang et al.",
            year=2019,
            title="Self-Attention Generative Adversarial Networks",
            url="https://arxiv.org/abs/1805.08318",
        ),
        module="reference_models.adversarial.sagan",
        programmes="P",
        homework=None,
        verified_against="attention by loops; permutation equivariance; the parameter count BigGAN's table 1 states",
    ),
    Family(
        name="biggan",
        title="BigGAN: truncation, orthogonal regularisation",
        paper=Paper(
            authors="Brock, Donahue, Simonyan",
            year=2019,
            title="Large Scale GAN Training for High Fidelity Natural Image Synthesis",
            url="https://arxiv.org/abs/1809.11096",
        ),
        module="reference_models.adversarial.biggan",
        programmes="PK",
        homework=None,
        verified_against="scipy.stats.truncnorm; the penalty by loops over filters; the parameter counts of table 1",
    ),
    Family(
        name="progressive-gan",
        title="Progressive growing",
        paper=Paper(
            authors="Karras et al.",
            year=2018,
            title="Progressive Growing of GANs for Improved Quality, Stability, and Variation",
            url="https://arxiv.org/abs/1710.10196",
        ),
        module="reference_models.adversarial.progressive_gan",
        programmes="P",
        homework=None,
        verified_against="ends and middle of a fade; numpy moments; schedule by hand; the paper's parameter counts",
    ),
    Family(
        name="stylegan",
        title="StyleGAN: mapping, AdaIN, noise, style mixing, truncation",
        paper=Paper(
            authors="Karras, Laine, Aila",
            year=2019,
            title="A Style-Based Generator Architecture for Generative Adversarial Networks",
            url="https://arxiv.org/abs/1812.04948",
        ),
        module="reference_models.adversarial.stylegan",
        programmes="SP",
        homework=None,
        verified_against="moments after AdaIN; torch's instance norm; R1 of a quadratic; the paper's parameter count",
    ),
)
