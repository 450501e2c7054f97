"""Latent-variable models: p(x) = ∫ p(x | z) p(z) dz, learned by maximum likelihood or by a bound on it.

Two models come first because everything about them is known: the Gaussian mixture (z discrete, exact posterior, EM)
and probabilistic PCA (z continuous, exact marginal and posterior), the oracle for every bound below them. The
variational autoencoder replaces the posterior by a network; the other families change one of its four parts at a time:
the bound (IWAE, beta-VAE, DIP-VAE, free bits), the posterior, the prior, the decoder. The last ones make z discrete.

Conventions: `elbo` returns nats per example, summed over dimensions, as reconstruction − KL; K importance samples are
the first dimension of a tensor of weights, shape (K, *B).
"""

from reference_models.catalogue import Family, Paper

FAMILIES: tuple[Family, ...] = (
    # ---- mixtures, pPCA, the VAE and its bounds, hierarchies, vector quantisation
    Family(
        name="gaussian-mixture",
        title="Gaussian mixture by EM and by gradient",
        paper=Paper(
            authors="Dempster, Laird, Rubin",
            year=1977,
            title="Maximum Likelihood from Incomplete Data via the EM Algorithm",
            url="https://doi.org/10.1111/j.2517-6161.1977.tb01600.x",
        ),
        module="reference_models.latent.gaussian_mixture",
        programmes="MSAP",
        homework=3,
        verified_against="scikit-learn; one EM step by hand; torch.distributions; autograd identity of Fisher",
    ),
    Family(
        name="ppca",
        title="Probabilistic PCA",
        paper=Paper(
            authors="Tipping, Bishop",
            year=1999,
            title="Probabilistic Principal Component Analysis",
            url="https://doi.org/10.1111/1467-9868.00196",
        ),
        module="reference_models.latent.ppca",
        programmes="",
        homework=None,
        verified_against="scikit-learn; dense multivariate normal of SciPy; Bayes' rule; zero gradient at the optimum",
    ),
    Family(
        name="vae",
        title="VAE",
        paper=Paper(
            authors="Kingma, Welling",
            year=2014,
            title="Auto-Encoding Variational Bayes",
            url="https://arxiv.org/abs/1312.6114",
        ),
        module="reference_models.latent.vae",
        programmes="MSAPK",
        homework=3,
        verified_against="exact evidence and posterior of pPCA; torch.distributions; quadrature; exact enumeration",
    ),
    Family(
        name="elbo-surgery",
        title="ELBO surgery, amortisation and approximation gaps",
        paper=Paper(
            authors="Hoffman, Johnson",
            year=2016,
            title="ELBO surgery: yet another way to carve up the variational evidence lower bound",
            url="https://approximateinference.org/accepted/HoffmanJohnson2016.pdf",
        ),
        module="reference_models.latent.elbo_surgery",
        programmes="MSAPK",
        homework=None,
        verified_against="exact enumeration of a discrete code; quadrature; optimal mean-field posterior of pPCA",
    ),
    Family(
        name="iwae",
        title="IWAE and its gradient estimators",
        paper=Paper(
            authors="Burda, Grosse, Salakhutdinov",
            year=2016,
            title="Importance Weighted Autoencoders",
            url="https://arxiv.org/abs/1509.00519",
        ),
        module="reference_models.latent.iwae",
        programmes="MP",
        homework=3,
        verified_against="exact evidence of pPCA; enumeration of all K-tuples; finite differences of a quadrature",
    ),
    Family(
        name="beta-vae",
        title="β-VAE",
        paper=Paper(
            authors="Higgins et al.",
            year=2017,
            title="beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework",
            url="https://openreview.net/forum?id=Sy2fzU9gl",
        ),
        module="reference_models.latent.beta_vae",
        programmes="P",
        homework=None,
        verified_against="torch.distributions; closed-form optimum of the linear model",
    ),
    Family(
        name="dip-vae",
        title="DIP-VAE I and II",
        paper=Paper(
            authors="Kumar, Sattigeri, Balakrishnan",
            year=2018,
            title="Variational Inference of Disentangled Latent Concepts from Unlabeled Observations",
            url="https://arxiv.org/abs/1711.00848",
        ),
        module="reference_models.latent.dip_vae",
        programmes="P",
        homework=None,
        verified_against="numpy.cov; law of total covariance by sampling; whitened codes",
    ),
    Family(
        name="posterior-collapse",
        title="Posterior collapse: free bits, KL annealing, weakened decoder",
        paper=Paper(
            authors="Bowman et al.",
            year=2016,
            title="Generating Sentences from a Continuous Space",
            url="https://arxiv.org/abs/1511.06349",
        ),
        module="reference_models.latent.posterior_collapse",
        programmes="MP",
        homework=None,
        verified_against="values by hand; zero gradient below the floor; exact enumeration; closed-form collapse",
    ),
    Family(
        name="hierarchical-vae",
        title="Hierarchical VAE, top-down with residual normals",
        paper=Paper(
            authors="Vahdat, Kautz",
            year=2020,
            title="NVAE: A Deep Hierarchical Variational Autoencoder",
            url="https://arxiv.org/abs/2007.03898",
        ),
        module="reference_models.latent.hierarchical_vae",
        programmes="SP",
        homework=None,
        verified_against="torch.distributions group by group; evidence by integration over all latents",
    ),
    Family(
        name="vq-vae",
        title="VQ-VAE with straight-through and EMA codebook",
        paper=Paper(
            authors="van den Oord, Vinyals, Kavukcuoglu",
            year=2017,
            title="Neural Discrete Representation Learning",
            url="https://arxiv.org/abs/1711.00937",
        ),
        module="reference_models.latent.vqvae",
        programmes="MSAP",
        homework=3,
        verified_against="brute-force neighbours; closed-form gradients; cluster means; exact enumeration of the prior",
    ),
    Family(
        name="vq-vae-2",
        title="VQ-VAE-2",
        paper=Paper(
            authors="Razavi, van den Oord, Vinyals",
            year=2019,
            title="Generating Diverse High-Fidelity Images with VQ-VAE-2",
            url="https://arxiv.org/abs/1906.00446",
        ),
        module="reference_models.latent.vqvae2",
        programmes="P",
        homework=None,
        verified_against="sum over all pairs of code grids; brute-force neighbours; shapes and parameter count by hand",
    ),
    # ---- richer decoders, priors and posteriors; discrete and implicit codes
    Family(
        name="pixelvae",
        title="Autoregressive decoder (PixelVAE)",
        paper=Paper(
            authors="Gulrajani et al.",
            year=2017,
            title="PixelVAE: A Latent Variable Model for Natural Images",
            url="https://arxiv.org/abs/1611.05013",
        ),
        module="reference_models.latent.pixelvae",
        programmes="",
        homework=None,
        verified_against="enumeration of all 2^9 images; evidence by quadrature; law of 2×2 samples",
    ),
    Family(
        name="vampprior",
        title="VampPrior",
        paper=Paper(
            authors="Tomczak, Welling",
            year=2018,
            title="VAE with a VampPrior",
            url="https://arxiv.org/abs/1705.07120",
        ),
        module="reference_models.latent.vampprior",
        programmes="P",
        homework=3,
        verified_against="torch.distributions; aggregate posterior in SciPy; finite differences; quadrature",
    ),
    Family(
        name="autoregressive-prior",
        title="Autoregressive prior",
        paper=Paper(
            authors="Chen et al.",
            year=2017,
            title="Variational Lossy Autoencoder",
            url="https://arxiv.org/abs/1611.02731",
        ),
        module="reference_models.latent.autoregressive_prior",
        programmes="P",
        homework=None,
        verified_against="torch.distributions; quadrature; autograd Jacobian; Rosenblatt transform of samples",
    ),
    Family(
        name="flow-prior",
        title="Flow prior",
        paper=Paper(
            authors="Huang et al.",
            year=2017,
            title="Learnable Explicit Density for Continuous Latent Space and Variational Inference",
            url="https://arxiv.org/abs/1710.02248",
        ),
        module="reference_models.latent.flow_prior",
        programmes="MP",
        homework=None,
        verified_against="autograd Jacobian; quadrature; the same model with the flow in the posterior",
    ),
    Family(
        name="flow-posterior",
        title="Flow posterior (IAF, planar)",
        paper=Paper(
            authors="Kingma et al.",
            year=2016,
            title="Improving Variational Inference with Inverse Autoregressive Flow",
            url="https://arxiv.org/abs/1606.04934",
        ),
        module="reference_models.latent.flow_posterior",
        programmes="MP",
        homework=None,
        verified_against="autograd Jacobian; quadrature of posterior and evidence; closed-form KL",
    ),
    Family(
        name="mixture-prior",
        title="Learnable mixture prior (VaDE)",
        paper=Paper(
            authors="Jiang et al.",
            year=2017,
            title="Variational Deep Embedding: An Unsupervised and Generative Approach to Clustering",
            url="https://arxiv.org/abs/1611.05148",
        ),
        module="reference_models.latent.mixture_prior",
        programmes="A",
        homework=None,
        verified_against="torch.distributions; numerical minimiser; quadrature; Kolmogorov–Smirnov",
    ),
    Family(
        name="gumbel-vae",
        title="Gumbel-softmax discrete VAE",
        paper=Paper(
            authors="Jang, Gu, Poole",
            year=2017,
            title="Categorical Reparameterization with Gumbel-Softmax",
            url="https://arxiv.org/abs/1611.01144",
        ),
        module="reference_models.latent.gumbel_vae",
        programmes="MAP",
        homework=3,
        verified_against="torch.distributions; closed-form law at each temperature; sum over all codes",
    ),
    Family(
        name="avb",
        title="Adversarial variational Bayes, implicit encoder",
        paper=Paper(
            authors="Mescheder, Nowozin, Geiger",
            year=2017,
            title=(
                "Adversarial Variational Bayes: Unifying Variational Autoencoders and Generative Adversarial Networks"
            ),
            url="https://arxiv.org/abs/1701.04722",
        ),
        module="reference_models.latent.avb",
        programmes="MP",
        homework=None,
        verified_against="optimal discriminator on finite states; evidence of a linear model; finite differences",
    ),
)
