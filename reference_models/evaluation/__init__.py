"""Evaluation: how good are samples, how far is one set of them from another, and how sure is the answer?

Metrics on images are taken on features of shape (N, F): `features.digit_features` for 8×8 digits,
`features.ModuleFeatures` for any other network. Every metric comes twice: as a number, and as an `Interval` from the
one bootstrap of `bootstrap`, whose docstring says which kind of interval each metric takes and why.

Conventions: rows are examples; covariances are divided by N − 1; `features_a` (or `real`) is data, `features_b`
(or `fake`) the model where the two roles differ.
"""

from reference_models.catalogue import Family, Paper

FAMILIES: tuple[Family, ...] = (
    Family(
        name="digit-classifier",
        title="Digit classifier, other feature extractors",
        paper=Paper(
            authors="Heusel et al.",
            year=2017,
            title="GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
            url="https://arxiv.org/abs/1706.08500",
        ),
        module="reference_models.evaluation.features",
        programmes="MAP",
        homework=4,
        verified_against="accuracy on held-out digits; networks whose features are known by hand",
    ),
    Family(
        name="bootstrap",
        title="Bootstrap confidence intervals",
        paper=Paper(
            authors="Efron",
            year=1979,
            title="Bootstrap Methods: Another Look at the Jackknife",
            url="https://doi.org/10.1214/aos/1176344552",
        ),
        module="reference_models.evaluation.bootstrap",
        programmes="",
        homework=None,
        verified_against="scipy.stats.bootstrap; normal theory; exact moments of the multinomial",
    ),
    Family(
        name="inception-score",
        title="Inception score",
        paper=Paper(
            authors="Salimans et al.",
            year=2016,
            title="Improved Techniques for Training GANs",
            url="https://arxiv.org/abs/1606.03498",
        ),
        module="reference_models.evaluation.inception_score",
        programmes="MP",
        homework=4,
        verified_against="hand cases; SciPy entropies; torchmetrics",
    ),
    Family(
        name="frechet-distance",
        title="Fréchet distance, full covariance",
        paper=Paper(
            authors="Heusel et al.",
            year=2017,
            title="GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
            url="https://arxiv.org/abs/1706.08500",
        ),
        module="reference_models.evaluation.frechet",
        programmes="MAP",
        homework=4,
        verified_against="scipy.linalg.sqrtm; torchmetrics; known distances of Gaussians",
    ),
    Family(
        name="precision-recall",
        title="Improved precision and recall",
        paper=Paper(
            authors="Kynkäänniemi et al.",
            year=2019,
            title="Improved Precision and Recall Metric for Assessing Generative Models",
            url="https://arxiv.org/abs/1904.06991",
        ),
        module="reference_models.evaluation.precision_recall",
        programmes="MAP",
        homework=4,
        verified_against="1-D cases by hand; brute force with scikit-learn's neighbours",
    ),
    Family(
        name="truncation-trick",
        title="Truncation trick",
        paper=Paper(
            authors="Brock, Donahue, Simonyan",
            year=2019,
            title="Large Scale GAN Training for High Fidelity Natural Image Synthesis",
            url="https://arxiv.org/abs/1809.11096",
        ),
        module="reference_models.evaluation.truncation",
        programmes="MA",
        homework=4,
        verified_against="scipy.stats.truncnorm; moments by hand",
    ),
    Family(
        name="density-coverage",
        title="Density and coverage",
        paper=Paper(
            authors="Naeem et al.",
            year=2020,
            title="Reliable Fidelity and Diversity Metrics for Generative Models",
            url="https://arxiv.org/abs/2002.09797",
        ),
        module="reference_models.evaluation.density_coverage",
        programmes="",
        homework=None,
        verified_against="1-D cases by hand; scikit-learn's neighbours; exact expectations under equal laws",
    ),
    Family(
        name="mmd",
        title="Kernel MMD and KID",
        paper=Paper(
            authors="Bińkowski et al.",
            year=2018,
            title="Demystifying MMD GANs",
            url="https://arxiv.org/abs/1801.01401",
        ),
        module="reference_models.evaluation.mmd",
        programmes="",
        homework=None,
        verified_against="double sums; torchmetrics; closed form between Gaussians",
    ),
    Family(
        name="mode-coverage",
        title="Mode coverage on mixtures",
        paper=Paper(
            authors="Srivastava et al.",
            year=2017,
            title="VEEGAN: Reducing Mode Collapse in GANs using Implicit Variational Learning",
            url="https://arxiv.org/abs/1705.07761",
        ),
        module="reference_models.evaluation.mode_coverage",
        programmes="",
        homework=4,
        verified_against="hand-placed points; SciPy's Mahalanobis distance and chi-squared law",
    ),
    Family(
        name="memorisation",
        title="Memorisation test",
        paper=Paper(
            authors="Meehan, Chaudhuri, Dasgupta",
            year=2020,
            title="A Non-Parametric Test to Detect Data-Copying in Generative Models",
            url="https://arxiv.org/abs/2004.05675",
        ),
        module="reference_models.evaluation.memorisation",
        programmes="",
        homework=None,
        verified_against="scipy.stats.mannwhitneyu; scikit-learn's neighbours; models that copy by construction",
    ),
    Family(
        name="bits-per-dimension",
        title="Bits per dimension",
        paper=Paper(
            authors="Theis, van den Oord, Bethge",
            year=2016,
            title="A Note on the Evaluation of Generative Models",
            url="https://arxiv.org/abs/1511.01844",
        ),
        module="reference_models.evaluation.bits_per_dim",
        programmes="",
        homework=None,
        verified_against="uniform laws by hand; entropy of known sources; torch.distributions",
    ),
)
