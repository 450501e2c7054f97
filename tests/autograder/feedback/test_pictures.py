"""Pictures against Pillow, matplotlib's colour map and arithmetic by hand."""

from __future__ import annotations

import io
import json
import math
import re

import matplotlib
import numpy as np
import pytest
from PIL import Image

from autograder.errors import UserError
from autograder.feedback import plots
from autograder.feedback.html import stylesheet
from autograder.feedback.pictures import VIRIDIS, coloured, mosaic, panel_arrays, picture, png
from autograder.report import Figure
from tests.autograder.report_factory import hostile, images, not_finite


def figure(kind: str, *panels: list) -> Figure:
    return Figure(title="t", kind=kind, panels={f"p{i}": panel for i, panel in enumerate(panels)})


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (4, 7, 3)])
def test_a_png_holds_the_pixels_it_was_made_of(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png(pixels)))), pixels)


def test_heatmap_colours_are_viridis() -> None:
    values = np.linspace(2.0, 5.0, 200).reshape(10, 20)
    ours = coloured(values, 2.0, 5.0).astype(float)
    theirs = matplotlib.colormaps["viridis"]((values - 2.0) / 3.0)[..., :3] * 255
    assert np.abs(ours - theirs).mean() < 2  # nine steps against 256
    assert np.abs(ours - theirs).max() < 18


def test_the_scale_beneath_a_heatmap_has_the_colours_of_the_heatmap() -> None:
    steps = ", ".join("#{:02x}{:02x}{:02x}".format(*map(int, step)) for step in VIRIDIS)
    assert f"linear-gradient(90deg, {steps})" in stylesheet()


def test_a_constant_heatmap_is_drawn() -> None:
    assert coloured(np.zeros((2, 2)), 0.0, 0.0).tolist() == [[[68, 1, 84]] * 2] * 2


def test_a_mosaic_keeps_every_image_and_lays_them_out_in_rows() -> None:
    batch = np.array(images(5, 0, size=8))
    sheet = mosaic(batch)
    scale, gap, cell = 8, 2, 66  # 8 pixels to the value, 2 between images
    assert sheet.shape == (2 * cell + gap, 3 * cell + gap)
    for i, image in enumerate(batch):
        top, left = gap + (i // 3) * cell, gap + (i % 3) * cell
        assert np.array_equal(sheet[top : top + 64 : scale, left : left + 64 : scale], image * 255)


def test_axes_carry_round_numbers_within_their_range() -> None:
    assert plots.ticks(0, 10) == [0, 2, 4, 6, 8, 10]
    assert plots.ticks(-0.13, 0.31) == pytest.approx([-0.1, 0.0, 0.1, 0.2, 0.3])
    assert plots.ticks(3e-7, 9e-7) == pytest.approx([4e-7, 6e-7, 8e-7])


def test_a_curve_runs_from_corner_to_corner() -> None:
    svg = str(plots.curves([np.array([[0.0, 0.0], [10.0, 100.0]])]))
    x0, y0, x1, y1 = map(float, re.search(r'c0" d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"', svg).groups())
    inner_w, inner_h = plots.W - plots.LEFT - plots.RIGHT, plots.H - plots.TOP - plots.BOTTOM
    assert x0 == pytest.approx(plots.LEFT + inner_w * 0.04 / 1.08, abs=0.1)
    assert y0 == pytest.approx(plots.H - plots.BOTTOM - inner_h * 0.04 / 1.08, abs=0.1)
    assert x1 == pytest.approx(plots.LEFT + inner_w * 1.04 / 1.08, abs=0.1)
    assert y1 == pytest.approx(plots.H - plots.BOTTOM - inner_h * 1.04 / 1.08, abs=0.1)


def test_clouds_beside_each_other_share_their_axes() -> None:
    near, far = (str(svg) for svg in plots.clouds([np.zeros((1, 2)), np.full((1, 2), 9.0)]))
    assert re.findall(r">([-\d.e]+)</text>", near) == re.findall(r">([-\d.e]+)</text>", far)
    assert re.search(r'c0"[^/]* d="(.*?)"', near).group(1) != re.search(r'c0"[^/]* d="(.*?)"', far).group(1)


@pytest.mark.parametrize("rows", [[[1.0, 1.0]], [[0.0, 0.0]] * 3, [[1e-30, 1e30], [0.0, -1e30]], [[5.0, 1e-9]] * 2])
def test_a_plot_of_equal_tiny_or_huge_numbers_has_finite_coordinates(rows: list) -> None:
    for kind in ("curve", "points"):
        (panel,) = picture(figure(kind, rows)).panels
        assert panel.svg is not None
        assert "nan" not in panel.svg
        assert "inf" not in panel.svg


def test_numbers_that_are_not_finite_are_refused_by_a_sentence() -> None:
    drawn = picture(not_finite())
    assert drawn.panels == ()
    assert drawn.refused == (
        'This picture could not be drawn: 2 of the 6 numbers of the panel "training" are not finite.'
    )


def test_nan_that_became_null_in_a_report_is_refused_by_the_same_sentence() -> None:
    loaded = Figure.model_validate(json.loads(not_finite().model_dump_json()))
    assert picture(loaded).refused == picture(not_finite()).refused


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (figure("images", [[0.0]]), "shape (1, 1), which is not one of images"),
        (figure("heatmap", [[0.0], [0.0, 1.0]]), "rows of equal length"),
        (figure("heatmap", [["a"]]), "does not hold numbers"),
        (figure("heatmap", []), "shape (0,)"),
        (figure("curve", [[1.0, 2.0, 3.0]]), "3 numbers, not x and y"),
        (figure("points", [[1e300, 0.0]]), "beyond 1e30"),
        (figure("heatmap", [[0.0] * 600]), "larger than 512"),
        (figure("heatmap"), "this one has 0"),
        (figure("heatmap", *[[[0.0]]] * 9), "this one has 9"),
    ],
)
def test_data_of_another_kind_is_refused_by_a_sentence(bad: Figure, says: str) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        panel_arrays(bad)
    assert says in (picture(bad).refused or "")


def test_too_many_rows_are_cut() -> None:
    assert panel_arrays(figure("images", images(100, 0)))["p0"].shape == (64, 8, 8)
    assert panel_arrays(figure("points", [[0.0, 1.0]] * 6000))["p0"].shape == (5000, 2)


COUNTS, BITS = [[0.0, 40.0], [3.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]


def test_heatmap_panels_have_scales_of_their_own() -> None:
    """Zeros and ones beside counts up to 40 are still seen to be two colours, and the same as without the counts."""
    both, alone = (picture(figure("heatmap", *matrices)) for matrices in ([COUNTS, BITS], [BITS]))
    counts, bits = both.panels
    assert (counts.low, counts.high, bits.low, bits.high) == ("0", "40", "0", "1")
    assert bits.src == alone.panels[0].src


def test_hostile_figures_still_draw_what_is_finite() -> None:
    drawn = [picture(f) for check in hostile().checks for f in check.figures]
    assert [bool(d.panels) for d in drawn] == [True, True, True, True, False]
    assert not any(math.isnan(p.width) for d in drawn for p in d.panels)
