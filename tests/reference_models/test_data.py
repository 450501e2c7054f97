"""Data sets: what they hold, and entropies that an independent computation confirms."""

from __future__ import annotations

import gzip
import math
import pickle

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad
from scipy.stats import kstest
from sklearn.datasets import load_digits

from reference_models.data import load, names
from reference_models.data_laws import waves_chain
from reference_models.drawn_digits import BLOCKS, Originals, draw, old_digits
from reference_models.exact import state_number
from tests.reference_models.files import write_cifar10, write_mnist
from tests.reference_models.helpers import binary_states, close, numpy, standard_errors


@pytest.fixture(autouse=True)
def _on_the_cpu():
    """Sets are made there, so that their numbers are the same everywhere."""
    torch.set_default_device(None)


DRAWN = ["bars", "crossed-bars", "glass", "mixture", "eight-gaussians", "corners", "moons", "checkerboard", "waves"]
DRAWN += ["drawn", "drawn-16", "drawn-binary"]


@pytest.mark.parametrize("name", [*DRAWN, "digits", "digits-binary"])
def test_a_set_has_the_shape_it_states_and_the_size_asked_for(name):
    data = load(name, size=100, dtype=torch.float64)
    assert data.name == name
    assert data.train.shape == (100, *data.event_shape)
    assert data.held_out.shape[1:] == data.event_shape
    assert len(data.held_out) >= 360
    assert data.train.dtype == (torch.long if name == "waves" else torch.float64)
    assert bool(data.train.double().isfinite().all())
    if data.train_labels is not None:
        assert data.train_labels.shape == (100,)
        assert data.train_labels.dtype == torch.long


@pytest.mark.parametrize("name", DRAWN)
def test_the_seed_decides_what_is_drawn(name):
    assert torch.equal(load(name, seed=3, size=50).train, load(name, seed=3, size=50).train)
    assert not torch.equal(load(name, seed=3, size=50).train, load(name, seed=4, size=50).train)
    data = load(name, size=50)
    assert not torch.equal(data.train, data.held_out[:50])


def test_a_set_is_put_where_it_is_wanted(device):
    data = load("mixture", size=10, device=device, dtype=torch.float64)
    assert {data.train.device.type, data.held_out_labels.device.type, data.target.means.device.type} == {device.type}
    assert torch.equal(data.train.cpu(), load("mixture", size=10, dtype=torch.float64).train)


def test_digits_are_those_of_scikit_learn_split_once():
    data = load("digits", dtype=torch.float64, seed=7)
    assert (len(data.train), len(data.held_out)) == (1437, 360)
    ours = np.sort(numpy(16 * torch.cat([data.train, data.held_out])).reshape(1797, 64), axis=0)
    assert np.array_equal(ours, np.sort(load_digits().data, axis=0))
    assert torch.equal(data.held_out, load("digits", dtype=torch.float64).held_out)
    assert float(data.train.max()) == 1.0
    assert np.bincount(numpy(data.held_out_labels)).min() > 20
    look_up = {row.tobytes(): label for row, label in zip(load_digits().data, load_digits().target, strict=True)}
    for x, y in zip(data.train[:20], data.train_labels[:20], strict=True):
        assert look_up[numpy(16 * x).reshape(64).tobytes()] == int(y)


def test_binary_digits_are_the_digits_cut_at_one_half():
    grey, binary = load("digits"), load("digits-binary")
    assert torch.equal(binary.train, (grey.train > 0.5).to(grey.train.dtype))
    assert binary.event_shape == (1, 8, 8)


def test_the_entropy_of_bars_is_that_of_all_images():
    """Conditional on the orientation bars are independent; written here image by image, as the docstring says it."""
    data = load("bars", size=20000, dtype=torch.float64)
    images = binary_states(16).reshape(-1, 4, 4)

    def given(x):  # rows are bars
        white = 0.95 ** x.sum(2) * 0.05 ** (4 - x.sum(2))
        black = 0.05 ** x.sum(2) * 0.95 ** (4 - x.sum(2))
        return (0.5 * (white + black)).prod(1)

    p = 0.5 * (given(images) + given(images.transpose(1, 2)))
    assert close(p.sum(), 1.0, 1e-12)
    assert data.entropy == pytest.approx(float(-(p * p.log()).sum()), abs=1e-10)
    assert data.entropy == pytest.approx(6.496, abs=1e-3)
    x = data.train[:, 0]
    surprise = -(0.5 * (given(x) + given(x.transpose(1, 2)))).log()
    assert standard_errors(surprise, data.entropy) < 5


@pytest.mark.parametrize(("name", "modes", "std"), [("mixture", 4, 0.3), ("eight-gaussians", 8, 0.1)])
def test_mixtures_carry_their_density_and_its_entropy(name, modes, std):
    data = load(name, size=20000, dtype=torch.float64)
    target = data.target
    assert target.means.shape == (modes, 2)
    assert close(target.means.norm(dim=1), 2.0, 1e-12)
    assert close(target.covariances, (std**2 * torch.eye(2)).expand(modes, 2, 2), 1e-12)
    assert standard_errors(-target.log_prob(data.train), data.entropy) < 5
    nearest = torch.cdist(data.train, target.means).argmin(1)
    assert float((nearest == data.train_labels).double().mean()) > 0.999


def test_the_entropy_of_the_mixture_agrees_with_scipys_quadrature():
    def integrand(y: float, x: float) -> float:
        terms = [math.exp(-((x - a) ** 2 + (y - b) ** 2) / 0.18) for a, b in ((2, 0), (0, 2), (-2, 0), (0, -2))]
        p = sum(terms) / (4 * 2 * math.pi * 0.09)
        return -p * math.log(p) if p > 0 else 0.0

    quarter = dblquad(integrand, 0.2, 3.8, lambda x: -x, lambda x: x, epsabs=1e-7)[0]  # the quarter round (2, 0)
    assert load("mixture", size=1).entropy == pytest.approx(4 * quarter, abs=2e-5)


def test_the_checkerboard_is_uniform_on_half_of_its_squares():
    data = load("checkerboard", size=20000, dtype=torch.float64)
    assert data.entropy == pytest.approx(math.log(32))
    square = ((data.train + 4) / 2).floor().long()
    assert bool(((square >= 0) & (square < 4)).all())
    assert bool(((square.sum(1) % 2) == 0).all())
    shares = torch.bincount(square @ torch.tensor([4, 1]), minlength=16) / 20000
    assert standard_errors((square @ torch.tensor([4, 1]) == 0).double(), 1 / 8) < 5
    assert int((shares > 0).sum()) == 8
    within = numpy((data.train + 4) % 2 / 2)
    assert min(kstest(within[:, 0], "uniform").pvalue, kstest(within[:, 1], "uniform").pvalue) > 1e-6


def test_the_entropy_of_waves_is_that_of_its_conditionals():
    """H = log 16 + 15 H(row of the chain) + 48 H(of an echo), and the data cost that much under the law as told."""
    data = load("waves", size=4000)
    chain = numpy(waves_chain())
    assert chain.sum(1) == pytest.approx(np.ones(16), abs=1e-12)
    assert chain[15, 0] == pytest.approx(0.6 + 0.1 / 16)  # the circle closes
    echo = np.full(16, 0.15 / 16)
    echo[3] += 0.85
    entropy = math.log(16) - 15 * (chain[0] @ np.log(chain[0])) - 48 * (echo @ np.log(echo))
    assert data.entropy == pytest.approx(entropy, abs=1e-10)
    x = data.train
    climbs = torch.as_tensor(chain)[x[:, :15], x[:, 1:16]].log().sum(1)
    right = x[:, 16:] == (x[:, :-16] + 1) % 16
    echoes = torch.where(right, math.log(0.85 + 0.15 / 16), math.log(0.15 / 16)).sum(1)
    assert standard_errors(math.log(16) - climbs - echoes, data.entropy) < 5


def test_crossed_bars_cost_what_their_law_says():
    """The law itself has tests of its own; a row and a column are found in each picture of many white pixels."""
    data = load("crossed-bars", size=20000, dtype=torch.float64)
    assert data.entropy == pytest.approx(-float(data.law(data.held_out).mean()), abs=1e-9)
    assert standard_errors(-data.law(data.train), data.entropy) < 5 * math.sqrt(1 + 20)  # its own error is of 1000
    white = 0.95 * (1 - 0.75**2) + 0.05 * 0.75**2
    assert standard_errors(data.train.flatten(1).mean(1), white) < 5


def test_the_glass_has_the_law_of_its_couplings():
    """Flipping one spin changes log p by minus twice its field times it: of sums over all pictures, none is needed."""
    data = load("glass", size=20000, dtype=torch.float64)
    states = binary_states(16).reshape(-1, 1, 4, 4)
    log_p = data.law(states)
    assert float(log_p.exp().sum()) == pytest.approx(1.0)
    assert data.entropy == pytest.approx(-float((log_p.exp() * log_p).sum()))
    assert close(log_p, data.law(1 - states), 1e-9)  # no outer field
    assert standard_errors(-data.law(data.train), data.entropy) < 5
    counts = torch.bincount(state_number(data.train), minlength=2**16) / 20000
    likely = log_p.argsort(descending=True)[:20]
    errors = (log_p[likely].exp() / 20000).sqrt()
    assert bool(((counts[likely] - log_p[likely].exp()).abs() < 5.5 * errors).all())
    x = states[torch.randint(2**16, (50,))]
    far, near = x.clone(), x.clone()
    far[:, 0, 3, 3], near[:, 0, 0, 0] = 1 - x[:, 0, 3, 3], 1 - x[:, 0, 0, 0]
    both = far.clone()
    both[:, 0, 0, 0] = near[:, 0, 0, 0]
    assert close(data.law(both) - data.law(far), data.law(near) - data.law(x), 1e-9)  # corners are no neighbours


def test_corners_are_four_mixtures_side_by_side():
    data, one = load("corners", size=5000, dtype=torch.float64), load("mixture", size=1, dtype=torch.float64).target
    planes = data.train.unflatten(1, (4, 2))
    expected = sum(one.log_prob(plane) for plane in planes.unbind(1))
    assert close(data.target.log_prob(data.train), expected, 1e-9)
    assert data.entropy == pytest.approx(4 * load("mixture", size=1).entropy)
    nearest = torch.cdist(planes[:, 0], one.means).argmin(1)
    assert float((nearest == data.train_labels).double().mean()) > 0.999


# --- digits drawn anew


def test_the_old_digits_are_those_of_scikit_learn():
    images, labels = old_digits()
    assert np.array_equal(images[:, 0].numpy(), load_digits().images)
    assert np.array_equal(labels.numpy(), load_digits().target)


def test_a_picture_without_a_move_is_two_digits_of_one_writer_and_class(monkeypatch):
    """Half of each, enlarged and averaged back: of equal halves nothing is left but the blur of it."""
    import reference_models.drawn_digits as module

    for move in ("TURN", "SHEAR", "LOG_SCALE", "SHIFT"):
        monkeypatch.setattr(module, move, 0.0)
    torch.set_default_dtype(torch.float32)
    zeros = [i for i in range(BLOCKS[1]) if int(old_digits()[1][i]) == 0][:2]
    of = Originals.of(zeros)
    images, labels = draw(200, of, torch.Generator().manual_seed(0))
    assert labels.tolist() == [0] * 200
    ends = [draw(1, Originals.of([i]), torch.Generator().manual_seed(0))[0].flatten() for i in zeros]
    span = torch.stack([ends[0] - ends[1], ends[1]], 1)
    weights = torch.linalg.lstsq(span, images.flatten(1).T).solution
    assert close(span @ weights, images.flatten(1).T, 1e-4)
    assert float(weights[0].min()) >= -1e-3
    assert float(weights[0].max()) <= 1 + 1e-3


def test_crisp_pictures_have_edges_and_each_class_is_drawn():
    torch.set_default_dtype(torch.float32)
    everybody = Originals.of(range(1797))
    soft, crisp = (draw(400, everybody, torch.Generator().manual_seed(0), side=16, crispness=c)[0] for c in (None, 4.0))
    grey = [float(((x > 0.05) & (x < 0.95)).float().mean()) for x in (soft, crisp)]
    assert grey[1] < 0.6 * grey[0]
    assert load("drawn-16", size=300).train_labels.unique().tolist() == list(range(10))


# --- files


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_read_from_its_files(tmp_path, packed):
    (pixels, labels), (held_out, _) = write_mnist(tmp_path, packed=packed)
    data = load("mnist", path=tmp_path, size=5, dtype=torch.float64)
    assert data.event_shape == (1, 28, 28)
    assert data.train.dtype == torch.float64
    assert load("mnist", path=tmp_path).train.dtype == torch.float32
    assert numpy(data.train[:, 0]) == pytest.approx(pixels[:5] / 255, abs=1e-15)
    assert data.train_labels.tolist() == labels[:5].tolist()
    assert numpy(data.held_out[:, 0]) == pytest.approx(held_out / 255)


@pytest.mark.parametrize("binary", [False, True])
def test_cifar10_is_read_from_either_of_its_forms(tmp_path, binary):
    batches = list(write_cifar10(tmp_path, binary=binary))
    data = load("cifar10", path=tmp_path, dtype=torch.float64)
    assert data.event_shape == (3, 32, 32)
    assert data.train_labels.tolist() == [label for _, labels in batches[:5] for label in labels.tolist()]
    assert numpy(data.train[3]) == pytest.approx(batches[1][0][1].reshape(3, 32, 32) / 255)
    assert numpy(data.held_out[0]) == pytest.approx(batches[5][0][0].reshape(3, 32, 32) / 255)


@pytest.mark.parametrize(("function", "name"), [(print, r"builtins\.print"), (np.load, r"numpy.*\.load")])
def test_a_batch_that_would_run_code_is_refused(tmp_path, function, name):
    class Bad:
        def __reduce__(self):
            return (function, ("ran",))

    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": Bad()}))
    with pytest.raises(ValueError, match=f"does not hold a {name}"):
        load("cifar10", path=tmp_path)


def test_bad_input_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"data must be one of 'digits', .*, got 'imagenet'"):
        load("imagenet")
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        load("moons", size=0)
    with pytest.raises(ValueError, match="moons is read from no files: leave out the path, got /data"):
        load("moons", path="/data")
    with pytest.raises(ValueError, match="digits has 1437 training examples, asked for 2000"):
        load("digits", size=2000)
    with pytest.raises(ValueError, match="give the folder that holds them as path"):
        load("mnist")
    with pytest.raises(ValueError, match="must be a folder"):
        load("mnist", path=tmp_path / "none")
    with pytest.raises(ValueError, match=r"holds neither train-images-idx3-ubyte nor train-images-idx3-ubyte.gz"):
        load("mnist", path=tmp_path)
    with pytest.raises(ValueError, match=r"holds neither data_batch_1 nor data_batch_1.bin"):
        load("cifar10", path=tmp_path)
    list(write_mnist(tmp_path, packed=False, cut=3))
    with pytest.raises(ValueError, match="train-images-idx3-ubyte should hold 4704 bytes, got 4701"):
        load("mnist", path=tmp_path)


def test_files_of_mnist_that_are_not_what_they_say_are_refused(tmp_path):
    images, labels = tmp_path / "train-images-idx3-ubyte", tmp_path / "train-labels-idx1-ubyte"

    def refused(sentence):
        with pytest.raises(ValueError, match=sentence):
            load("mnist", path=tmp_path)

    list(write_mnist(tmp_path, packed=False))
    whole, right = images.read_bytes(), labels.read_bytes()
    labels.write_bytes(whole)
    refused("train-labels-idx1-ubyte is no IDX file of 1 dimensions: it begins with 00 00 08 03")
    labels.write_bytes(b"".join(k.to_bytes(4, "big") for k in (2049, 5)) + right[8:13])
    refused("mnist must have a label an image, got 6 training images, 5 labels")
    labels.write_bytes(right)
    images.write_bytes(b"")
    refused("train-images-idx3-ubyte is no IDX file of 3 dimensions")
    images.write_bytes(b"".join(k.to_bytes(4, "big") for k in (2051, 0, 28, 28)))
    refused("train-images-idx3-ubyte should hold some bytes, got 0")
    images.write_bytes(b"".join(k.to_bytes(4, "big") for k in (2051, 6, 14, 14)) + bytes(6 * 14 * 14))
    refused(f"{images} should hold images of 28×28, got 14×14")
    images.write_bytes(whole)
    labels.write_bytes(right[:-1] + bytes([77]))
    refused(f"{labels} should hold labels from 0 to 9, got [0-9] to 77")
    images.unlink()
    packed = gzip.compress(whole)
    for broken in (packed[:-20], packed[:200] + b"no" + packed[202:], b"plain"):
        images.with_suffix(".gz").write_bytes(broken)
        refused("train-images-idx3-ubyte.gz cannot be unpacked")


def test_files_of_cifar10_that_are_not_what_they_say_are_refused(tmp_path):
    def refused(sentence):
        with pytest.raises(ValueError, match=sentence):
            load("cifar10", path=tmp_path)

    first = tmp_path / "data_batch_1"
    for batch in ([1, 2], {b"labels": [1]}, {b"data": np.zeros((1, 3072), np.uint8)}):
        first.write_bytes(pickle.dumps(batch, protocol=2))
        refused("data_batch_1 is no batch of CIFAR-10")
    first.write_bytes(b"plain text")
    refused("data_batch_1 is no batch of CIFAR-10")
    first.write_bytes(pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}, protocol=2))
    refused("data_batch_1 should hold 3072 bytes, got 6144")
    floats, bytes_ = np.zeros((1, 3072), np.float32), np.zeros((1, 3072), np.uint8)
    for pixels, label, types in ((floats, 1, "float32 and torch.int64"), (bytes_, 0.5, "uint8 and torch.float")):
        first.write_bytes(pickle.dumps({b"data": pixels, b"labels": [label]}, protocol=2))
        refused(f"{first} should hold bytes and whole labels, got {types}")
    first.write_bytes(pickle.dumps({b"data": bytes_, b"labels": [-1]}, protocol=2))
    refused(f"{first} should hold labels from 0 to 9, got -1 to -1")
    binary = first.with_suffix(".bin")
    binary.write_bytes(bytes(3073 + 5))
    refused(f"{binary} should hold a multiple of 3073 bytes, got 3078")
    binary.write_bytes(bytes([200]) + bytes(3072))
    refused(f"{binary} should hold labels from 0 to 9, got 200 to 200")


def test_every_name_is_documented():
    import reference_models.data

    assert all(name in reference_models.data.__doc__ for name in names())
