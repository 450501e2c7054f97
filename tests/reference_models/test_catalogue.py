"""The catalogue: every family of the course has a row, and every row keeps what it promises."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

from reference_models.catalogue import FOLDERS, PROGRAMMES, Family, families
from reference_models.data import names
from reference_models.recipes import recipe_of

ROOT = Path(__file__).resolve().parents[2]

# every family that the programmes name: folder, what they call it, who names it, and the rows that are it
ASKED_FOR = """
foundations | KL forward and reverse, JS, divergence minimisation and maximum likelihood | MSAP | divergences
foundations | f-divergences, Fenchel conjugates, variational bound | MSAP | f-divergences
foundations | Fisher divergence | S | fisher-divergence
foundations | Wasserstein distances: 1-D, discrete, Kantorovich–Rubinstein dual | MSAP | wasserstein
foundations | MLE, MAP, Bayesian averaging | MP | conjugate-bayes
foundations | importance sampling, rejection sampling | S | importance-sampling rejection-sampling
foundations | Langevin dynamics | MSA | langevin
autoregressive | NADE | K | nade
autoregressive | MADE | PK | made
autoregressive | WaveNet | MP | wavenet
autoregressive | PixelRNN row LSTM and diagonal BiLSTM | K | row-lstm diagonal-bilstm
autoregressive | PixelCNN | MAPK | pixelcnn
autoregressive | gated PixelCNN without blind spot | | gated-pixelcnn
autoregressive | conditional PixelCNN | | conditional-pixelcnn
autoregressive | PixelCNN++ | MP | pixelcnn-pp
autoregressive | causal image transformer with KV cache | | image-gpt
latent | Gaussian mixture by EM and by gradient | MSAP | gaussian-mixture
latent | probabilistic PCA | | ppca
latent | VAE | MSAPK | vae
latent | ELBO surgery | MSAP | elbo-surgery
latent | IWAE and its gradient estimators | MP | iwae
latent | beta-VAE | P | beta-vae
latent | DIP-VAE I and II | P | dip-vae
latent | posterior collapse: free bits, annealing, weakening | MP | posterior-collapse
latent | autoregressive decoder | | pixelvae
latent | VampPrior | P | vampprior
latent | autoregressive prior | P | autoregressive-prior
latent | flow prior, flow posterior | MP | flow-prior flow-posterior
latent | learnable mixture prior | A | mixture-prior
latent | hierarchical VAE | SP | hierarchical-vae
latent | VQ-VAE | MSAP | vq-vae
latent | VQ-VAE-2 | P | vq-vae-2
latent | Gumbel-softmax discrete VAE | MAP | gumbel-vae
latent | adversarial variational Bayes | MP | avb
flows | change of variables | | change-of-variables
flows | planar and radial | AP | planar radial
flows | Sylvester | | sylvester
flows | linear flows, invertible 1×1 | MAP | linear-flow invertible-1x1
flows | NICE | P | nice
flows | RealNVP | MSAP | realnvp
flows | Glow | MP | glow
flows | MAF | MAP | maf
flows | IAF and the MAF/IAF duality | MP | iaf
flows | uniform dequantisation, variational dequantisation | MP | uniform-dequantisation variational-dequantisation
flows | neural spline coupling | | neural-spline
flows | neural ODE with the adjoint method | MAP | neural-ode
flows | FFJORD with Hutchinson's trace | MSAP | ffjord
energy | energy-based model, contrastive gradient, persistent chains | S | ebm
energy | restricted and general Boltzmann machine | K | rbm boltzmann-machine
energy | generative stochastic network, Markov-chain density model | K | gsn markov-chain-density
adversarial | GAN minimax and non-saturating, optimal discriminator | MSAPK | gan
adversarial | DCGAN | PK | dcgan
adversarial | LSGAN | | lsgan
adversarial | f-GAN | MSAP | f-gan
adversarial | conditional GAN | SK | conditional-gan
adversarial | constrained GAN | K | constrained-gan
adversarial | pix2pix | S | pix2pix
adversarial | CycleGAN and one-sided unpaired translation | S | cyclegan cut
adversarial | WGAN with clipping | MSAPK | wgan
adversarial | WGAN-GP | MSP | wgan-gp
adversarial | spectral normalisation | MP | spectral-norm
adversarial | SAGAN | P | sagan
adversarial | BigGAN with truncation and orthogonal regularisation | PK | biggan
adversarial | progressive growing | P | progressive-gan
adversarial | StyleGAN | SP | stylegan
evaluation | Inception score | MP | inception-score
evaluation | Fréchet distance | MAP | frechet-distance
evaluation | improved precision and recall | MAP | precision-recall
evaluation | truncation trick | MA | truncation-trick
evaluation | density and coverage | | density-coverage
evaluation | kernel MMD / KID | | mmd
evaluation | mode coverage on mixtures | | mode-coverage
evaluation | memorisation test | | memorisation
evaluation | bits per dimension | | bits-per-dimension
evaluation | feature extractors | | digit-classifier
diffusion | score matching: implicit, sliced | MSAP | implicit-score-matching sliced-score-matching
diffusion | score matching: denoising | MSAP | denoising-score-matching
diffusion | NCSN with annealed Langevin | MSA | ncsn
diffusion | forward Gaussian diffusion, posterior, ELBO terms, bits per dimension | MSAP | gaussian-diffusion
diffusion | DDPM parametrisations | MSAP | diffusion-parametrisation ddpm
diffusion | DDIM and strided sampling | S | ddim
diffusion | classifier guidance, classifier-free guidance | A | classifier-guidance classifier-free-guidance
diffusion | conditional DDPM for super-resolution | S | sr3
diffusion | VP, VE and sub-VP SDEs | MA | vp-sde ve-sde subvp-sde
diffusion | reverse SDE, predictor–corrector | MA | predictor-corrector
diffusion | probability-flow ODE with exact likelihood | A | probability-flow
diffusion | Kolmogorov–Fokker–Planck residual | MA | fokker-planck
diffusion | discrete diffusion, uniform and absorbing | | d3pm-uniform d3pm-absorbing
diffusion | latent diffusion | A | latent-diffusion
diffusion | networks: small U-Net, DiT block | | ddpm-unet dit
flow_matching | conical Gaussian paths, linear interpolation, link to diffusion and score | A | gaussian-paths
flow_matching | conditional flow matching | SA | cfm
flow_matching | minibatch OT coupling | S | ot-cfm
flow_matching | rectified flow, straightness | S | rectified-flow
flow_matching | likelihood of the learned ODE | | fm-likelihood
flow_matching | guidance | | guided-flow
flow_matching | latent flow matching | A | latent-flow-matching
"""
ITEMS = [tuple(cell.strip() for cell in line.split("|")) for line in ASKED_FOR.strip().splitlines()]

# measures, estimators, fixed maps and schedules: there is nothing to train
# whose recorded runs, if any, are of other data than their recipe's first, for want of time or because they missed its
# goals there: `python -m reference_models train NAME… --jobs 16 --record` takes them out of this list
TO_RECORD = """
nade vae elbo-surgery iwae beta-vae dip-vae posterior-collapse vq-vae vq-vae-2 pixelvae vampprior
autoregressive-prior flow-prior mixture-prior gumbel-vae invertible-1x1 realnvp maf neural-spline rbm
boltzmann-machine markov-chain-density gsn dcgan spectral-norm biggan progressive-gan stylegan
implicit-score-matching sliced-score-matching denoising-score-matching ncsn diffusion-parametrisation ddpm
ddim classifier-guidance classifier-free-guidance sr3 vp-sde ve-sde subvp-sde predictor-corrector
probability-flow latent-diffusion ddpm-unet dit gaussian-paths cfm ot-cfm rectified-flow fm-likelihood
guided-flow latent-flow-matching
"""
NOT_TRAINED = """
conjugate-bayes importance-sampling rejection-sampling change-of-variables logit-transform bootstrap inception-score
frechet-distance precision-recall truncation-trick density-coverage mmd mode-coverage memorisation bits-per-dimension
noise-schedule gaussian-diffusion fokker-planck
"""

every_family = pytest.mark.parametrize("family", families(), ids=lambda family: family.name)


@pytest.mark.parametrize(("folder", "item", "programmes", "rows"), ITEMS, ids=[item[1] for item in ITEMS])
def test_every_family_of_the_course_has_a_row(folder, item, programmes, rows):
    known = {family.name: family for family in families()}
    for row in rows.split():
        assert row in known, f"no row for {item}"
        assert known[row].folder == folder
        assert set(programmes) <= set(known[row].programmes)


def test_names_are_unique_slugs():
    counted = Counter(family.name for family in families())
    assert {name for name, n in counted.items() if n > 1} == set()
    assert [name for name in counted if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)] == []


def test_the_catalogue_needs_no_torch():
    program = "import sys, reference_models.catalogue as c; c.families(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@every_family
def test_a_row_says_where_the_family_is_from_and_what_verifies_it(family: Family):
    paper = family.paper
    assert 1900 <= paper.year <= 2026
    assert paper.url.startswith("https://")
    assert "" not in (paper.authors, paper.title, family.title, family.verified_against)
    assert all(letter in PROGRAMMES for letter in family.programmes)
    assert all(1 <= number <= 6 for number in family.homeworks)
    assert family.folder in FOLDERS


@every_family
def test_a_row_names_a_module_that_says_what_it_is_and_has_tests(family: Family):
    module = import_module(family.module)
    assert len((module.__doc__ or "").splitlines()) >= 4
    stem = family.module.split(".")[-1]
    assert list((ROOT / "tests" / "reference_models").rglob(f"test_{stem}.py"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_file_can_be_read_in_one_sitting(folder):
    """60 to 250 lines is the taste; none is longer than 300 but files of recipes."""
    files = (ROOT / "reference_models" / folder).glob("[!_]*.py")
    long = {file.name: n for file in files if (n := len(file.read_text().splitlines())) > 300}
    assert {name: n for name, n in long.items() if not name.startswith("recipes")} == {}


@every_family
def test_what_can_be_trained_has_a_recipe_with_a_goal_that_was_reached(family: Family):
    recipe = recipe_of(family)
    if family.name in NOT_TRAINED.split():
        assert recipe is None
        return
    assert recipe is not None
    assert recipe.goals
    assert set(recipe.data) <= set(names())
    results = json.loads((ROOT / "reference_models" / family.folder / "results.json").read_text())
    if family.name in TO_RECORD.split():
        assert results.get(family.name, {}).get("data") != recipe.data[0]
        return
    run = results[family.name]
    assert run["data"] == recipe.data[0]
    assert all(goal.reached(run["metrics"]) for goal in recipe.goals)
    assert run["minutes"] <= 2 * recipe.minutes
    assert run["device"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_gives_the_classes_of_its_files(folder):
    """`from reference_models.flows import MAF` is the class, and no name of a folder means anything else."""
    package = import_module(f"reference_models.{folder}")
    found = {}
    for file in (ROOT / "reference_models" / folder).glob("[!_]*.py"):
        if file.name.startswith("recipes"):
            continue
        module = import_module(f"reference_models.{folder}.{file.stem}")
        for node in ast.parse(file.read_bytes()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                assert node.name not in found, "two classes of one name"
                found[node.name] = getattr(module, node.name)
    assert {name: getattr(package, name) for name in package.__all__} == found
    assert {name for name in vars(package) if name[0].isupper()} == set(found)


def imported_by(file: Path) -> set[str]:
    """The modules of this library that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.startswith("reference_models.")}


@pytest.mark.parametrize("folder", ["parts", "exact", *FOLDERS])
def test_imports_form_a_ladder(folder):
    """Parts know no family, exact answers none of the code they judge, and families no recipe."""
    for file in (ROOT / "reference_models" / folder).glob("*.py"):
        used = imported_by(file)
        if folder == "parts":
            assert {name.split(".")[1] for name in used} <= {"parts", "protocols"}, file.name
        elif folder == "exact":
            assert {name.split(".")[1] for name in used} <= {"parts", "exact"}, file.name
        elif not file.name.startswith("recipes"):
            assert not any(re.search(r"\.recipes\b", name) for name in used), file.name
