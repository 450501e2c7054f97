"""Foundations: what it means for one law to be close to another, and how to draw from, or integrate against, a law.

Divergences come in three forms where they can: exact on finite laws, closed for Gaussians, estimated from samples. The
other files are the tools every later family uses: Bayesian averaging where it is exact, importance and rejection
sampling, Langevin dynamics.

Conventions: nats; finite laws are rows of probabilities, shape (*B, K), last dimension summing to one.
"""

from reference_models.catalogue import Family, Paper

FAMILIES: tuple[Family, ...] = (
    Family(
        name="divergences",
        title="KL forward and reverse, JS, maximum likelihood",
        paper=Paper(
            authors="Kullback, Leibler",
            year=1951,
            title="On Information and Sufficiency",
            url="https://doi.org/10.1214/aoms/1177729694",
        ),
        module="reference_models.foundations.divergences",
        programmes="MSAP",
        homework=1,
        verified_against="SciPy; torch.distributions; quadrature; moments of the target",
    ),
    Family(
        name="f-divergences",
        title="f-divergences, conjugates, variational bound",
        paper=Paper(
            authors="Nowozin, Cseke, Tomioka",
            year=2016,
            title="f-GAN: Training Generative Neural Samplers using Variational Divergence Minimization",
            url="https://arxiv.org/abs/1606.00709",
        ),
        module="reference_models.foundations.f_divergences",
        programmes="MSAP",
        homework=4,
        verified_against="numerical suprema; autograd; exact divergences of finite laws; SciPy",
    ),
    Family(
        name="fisher-divergence",
        title="Fisher divergence",
        paper=Paper(
            authors="Hyvärinen",
            year=2005,
            title="Estimation of Non-Normalized Statistical Models by Score Matching",
            url="https://jmlr.org/papers/v6/hyvarinen05a.html",
        ),
        module="reference_models.foundations.fisher_divergence",
        programmes="S",
        homework=5,
        verified_against="closed form of Gaussians by hand; quadrature; de Bruijn's identity for KL",
    ),
    Family(
        name="wasserstein",
        title="Wasserstein distances and their dual",
        paper=Paper(
            authors="Villani",
            year=2009,
            title="Optimal Transport: Old and New",
            url="https://doi.org/10.1007/978-3-540-71050-9",
        ),
        module="reference_models.foundations.wasserstein",
        programmes="MSAP",
        homework=4,
        verified_against="SciPy; POT; all permutations; linear-programming duality",
    ),
    Family(
        name="conjugate-bayes",
        title="MLE, MAP, Bayesian averaging",
        paper=Paper(
            authors="Bishop",
            year=2006,
            title="Pattern Recognition and Machine Learning, chs. 2 and 3",
            url="https://www.microsoft.com/en-us/research/publication/pattern-recognition-machine-learning/",
        ),
        module="reference_models.foundations.conjugate_bayes",
        programmes="MP",
        homework=None,
        verified_against="quadrature; SciPy's beta-binomial and multivariate normal; scikit-learn's ridge",
    ),
    Family(
        name="importance-sampling",
        title="Importance sampling, effective sample size",
        paper=Paper(
            authors="Kahn, Marshall",
            year=1953,
            title="Methods of Reducing Sample Size in Monte Carlo Computations",
            url="https://doi.org/10.1287/opre.1.5.263",
        ),
        module="reference_models.foundations.importance_sampling",
        programmes="S",
        homework=None,
        verified_against="exact enumeration; Gaussian integrals by hand; the delta method",
    ),
    Family(
        name="rejection-sampling",
        title="Rejection sampling",
        paper=Paper(
            authors="von Neumann",
            year=1951,
            title="Various Techniques Used in Connection with Random Digits",
            url="https://mcnp.lanl.gov/pdf_files/InBook_Computing_1961_Neumann_JohnVonNeumannCollectedWorks_VariousTechniquesUsedinConnectionwithRandomDigits.pdf",
        ),
        module="reference_models.foundations.rejection_sampling",
        programmes="S",
        homework=None,
        verified_against="acceptance rate 1/M; SciPy's laws by Kolmogorov–Smirnov; exact finite laws",
    ),
    Family(
        name="langevin",
        title="Langevin dynamics: ULA, MALA, annealed",
        paper=Paper(
            authors="Roberts, Tweedie",
            year=1996,
            title="Exponential Convergence of Langevin Distributions and Their Discrete Approximations",
            url="https://doi.org/10.2307/3318418",
        ),
        module="reference_models.foundations.langevin",
        programmes="MSA",
        homework=5,
        verified_against="exact discrete-time moments for Gaussians; detailed balance; mixture weights",
    ),
)
