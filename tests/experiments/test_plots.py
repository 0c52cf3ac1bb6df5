from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from evolve.block import Block
from evolve.events import BlockEnd, Generation
from experiments import plots
from experiments.reliability import Bin, Reliability
from experiments.statistics import Accuracy
from slicing.baselines import Epoch
from slicing.stack import Conv, ConvStack, Pool
from tests.experiments.test_summary import SUMMARY

pytestmark = pytest.mark.usefixtures("visible_figures")


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def share_of(image, color, tolerance=40):
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return (np.abs(image - wanted).max(axis=2) < tolerance).mean()


def history(n_blocks):
    events, loss = [], 1.0
    for number in range(n_blocks):
        block = Block(((1, number),))
        for g in range(1, 4):
            evaluations = 10 * (3 * number + g) + number
            mean = np.nan if g == 2 else loss
            events.append(
                Generation(
                    block, number, n_blocks, g, 3, loss - 0.01 * g, mean, 0.1, evaluations, 0
                )
            )
        events.append(
            BlockEnd(block, number, n_blocks, loss, loss - 0.03, True, evaluations + 1, 0, ("x",))
        )
        loss -= 0.03
    return events


@pytest.mark.parametrize("n_blocks", [1, 5, 30])
def test_convergence_shows_network_and_blocks(tmp_path, n_blocks):
    plots.convergence(history(n_blocks), tmp_path / "c.png", "a run")
    image = pixels(tmp_path / "c.png")
    assert share_of(image, "#1f6fb4") > 0.001
    assert share_of(image, "#e07b00") > 0.0003


def test_convergence_of_a_run_that_ended_at_once_does_not_raise(tmp_path):
    end = BlockEnd(Block(((0, 0),)), 0, 1, 0.5, 0.5, False, 0, 0, ("interrupted",))
    for events in ([], [end]):
        plots.convergence(events, tmp_path / "c.png")


def stack(rng, n_first=3, n_second=20):
    def conv(n_in, n_out):
        return Conv(
            rng.normal(size=(3, 3, n_in, n_out)).astype(np.float32), np.zeros(n_out, np.float32)
        )

    return ConvStack((conv(1, n_first), Pool(), conv(n_first, n_second)), (28, 28, 1))


def test_kernels_show_what_changed(tmp_path):
    rng = np.random.default_rng(0)
    before, other = stack(rng), stack(rng)
    plots.kernels(before, before, tmp_path / "same.png")
    plots.kernels(before, other, tmp_path / "other.png")
    same, changed = pixels(tmp_path / "same.png"), pixels(tmp_path / "other.png")
    assert same.shape == changed.shape
    assert (same != changed).any(axis=2).mean() > 0.05


def test_kernels_of_zeros_does_not_raise(tmp_path):
    zeros = Conv(np.zeros((3, 3, 1, 2), np.float32), np.zeros(2, np.float32))
    zero = ConvStack((zeros,), (9, 9, 1))
    plots.kernels(zero, zero, tmp_path / "k.png")


def test_grid_holds_every_kernel_once():
    weights = np.arange(2 * 2 * 3 * 5, dtype=np.float32).reshape(2, 2, 3, 5)
    grid = plots._grid(Conv(weights, np.zeros(5, np.float32)), 3)
    assert grid.shape == (5, 8)
    np.testing.assert_array_equal(grid[:2, 3:5], weights.mean(axis=2)[..., 1])
    np.testing.assert_array_equal(grid[3:, :2], weights.mean(axis=2)[..., 3])
    assert np.isnan(grid).sum() == grid.size - 5 * 4


def test_confusion_is_dark_where_images_are(tmp_path):
    labels = np.repeat(np.arange(3), 10)
    classes = ("cat", "dog", "a longer name")
    plots.confusion(labels, labels, classes, tmp_path / "right.png", "a run")
    plots.confusion(labels, (labels + 1) % 3, classes, tmp_path / "wrong.png", "a run")
    right, wrong = pixels(tmp_path / "right.png"), pixels(tmp_path / "wrong.png")
    dark = "#08306b"
    assert share_of(right, dark) == pytest.approx(share_of(wrong, dark), rel=0.1)
    assert share_of(right, dark) > 0.05
    assert (right != wrong).any()


def boxes(figure, texts):
    """Where texts are drawn, in pixels."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    return [text.get_window_extent(renderer) for text in texts if text.get_text()]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved."""
    figures, save = [], plots.save

    def kept(figure, path):
        figures.append(figure)
        save(figure, path)

    monkeypatch.setattr(plots, "save", kept)
    return figures


def overlap(found):
    return [pair for pair in combinations(found, 2) if pair[0].overlaps(pair[1])]


@pytest.mark.parametrize("n", [2, 12, 13, 100])
def test_the_names_of_a_confusion_matrix_do_not_run_into_each_other(n, drawn, tmp_path):
    names = [f"{number} is a class with a long name" for number in range(n)]
    labels = np.repeat(np.arange(n), 200)
    plots.confusion(labels, np.roll(labels, 3), names, tmp_path / "c.png", "a run")
    [figure] = drawn
    [axes] = figure.axes
    if n > 12:  # slanted ones have boxes that overlap, and letters that do not
        assert not overlap(boxes(figure, axes.get_xticklabels()))
    assert not overlap(boxes(figure, axes.get_yticklabels()))
    assert not overlap(boxes(figure, axes.texts))
    assert pixels(tmp_path / "c.png").shape[1] < 2500


@pytest.mark.parametrize("n_blocks", [1, 16, 17, 64])
def test_the_names_of_blocks_do_not_run_into_each_other(n_blocks, drawn, tmp_path):
    events, rng = [], np.random.default_rng(n_blocks)
    evaluations = 0
    for number in range(n_blocks):
        evaluations += int(rng.integers(1, 200))
        block = Block(((1, 100 + number),))
        events.append(BlockEnd(block, number, n_blocks, 1.0, 0.9, True, evaluations, 0, ("x",)))
    plots.convergence(events, tmp_path / "c.png", "a run")
    [figure] = drawn
    found = boxes(figure, figure.axes[0].texts)
    assert bool(found) == (n_blocks < 64)  # those of so many have no room
    assert not overlap(found)


def test_a_training_is_drawn_epoch_by_epoch(drawn, tmp_path):
    plots.training([Epoch(2.0, 0.5), Epoch(1.0, 0.75), Epoch(0.5, 0.875)], tmp_path / "t.png", "r")
    [figure] = drawn
    lines = [axes.lines[0].get_xydata().tolist() for axes in figure.axes]
    assert lines == [[[1, 2.0], [2, 1.0], [3, 0.5]], [[1, 50.0], [2, 75.0], [3, 87.5]]]
    assert pixels(tmp_path / "t.png").size


def test_convergence_shows_the_networks_last_loss(tmp_path):
    """Which can lie far below all candidates: after each block others of the images are drawn."""
    *events, end = history(5)
    plots.convergence([*events, replace(end, loss_after=0.2)], tmp_path / "c.png")
    image = pixels(tmp_path / "c.png")
    is_blue = np.abs(image - [0x1F, 0x6F, 0xB4]).max(axis=2) < 40
    axis = (image.max(axis=2) < 40).sum(axis=1).argmax()
    # The line ends before it reaches the axis.
    assert np.flatnonzero(is_blue.any(axis=1)).max() < axis - 5


def accuracy_of(tmp_path, *networks):
    plots.accuracy(networks, tmp_path / "a.png", "a run")
    return pixels(tmp_path / "a.png")


def columns_of(image, color):
    """Where a network is: above the legend, which has its marker, too."""
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    is_there = (np.abs(image - wanted).max(axis=2) < 40)[: len(image) * 3 // 4]
    return np.flatnonzero(is_there.any(axis=0))


def test_accuracy_has_every_network_in_its_place(tmp_path):
    baseline, sliced, evolved, engine = SUMMARY.rows
    image = accuracy_of(tmp_path, baseline, sliced, evolved, engine)
    blue, orange, green = (columns_of(image, c) for c in ("#1f6fb4", "#e07b00", "#2a8a4a"))
    # The smallest to the left; of the same size, side by side.
    assert green.max() < blue.min() <= blue.max() < orange.min()
    smaller = replace(evolved, total_bytes=evolved.total_bytes // 1000)
    image = accuracy_of(tmp_path, baseline, sliced, smaller, engine)
    assert columns_of(image, "#e07b00").max() < columns_of(image, "#1f6fb4").min()


def test_accuracy_without_a_network_that_cannot_classify(tmp_path):
    baseline, sliced, *_ = SUMMARY.rows
    unable = replace(sliced, test=None, test_all=None)
    assert columns_of(accuracy_of(tmp_path, baseline, sliced), "#1f6fb4").size
    assert not columns_of(accuracy_of(tmp_path, baseline, unable), "#1f6fb4").size


@pytest.mark.parametrize(
    "odd",
    [
        r"$\no$",  # Matplotlib knows no \no, and would say so.
        "a $x^$ b",  # Where it wraps lines, it looks for formulas all the same.
        r"a \$x^$ b",
        "not \udcff Unicode",
        "two\nlines",
        "\0\x1b[31m\r",
        "long " * 1000,
        "x" * 5000,
        "",
        "Ünïcödé 名前 😀",
    ],
)
@pytest.mark.filterwarnings("ignore:Glyph:UserWarning")
def test_any_name_can_be_drawn(odd, tmp_path):
    labels = np.arange(2)
    plots.convergence(history(1), tmp_path / "c.png", odd)
    plots.confusion(labels, labels, (odd, "cat"), tmp_path / "f.png", f"{odd}\nits engine")
    plots.accuracy([replace(SUMMARY.rows[0], name=odd)], tmp_path / "a.png", odd)
    plots.training([Epoch(1.0, 0.5)], tmp_path / "t.png", odd)
    one = Reliability((Bin(0.9, 1.0, 1.0, Accuracy(7, 10)),), 0.0, 0.3, None)
    plots.reliability({"confidence": one}, tmp_path / "r.png", odd)
    assert all(pixels(tmp_path / f"{name}.png").size for name in "cfatr")


@given(st.text(max_size=60))
@settings(max_examples=60, deadline=None)
def test_a_name_is_drawn_as_it_is(text):
    drawn = Text(text=plots.plain(text), wrap=True)
    shown, is_formula = drawn._preprocess_math(drawn.get_text())
    assert not is_formula
    assert shown == "\n".join(text.splitlines())


def test_a_reliability_diagram_shows_who_says_too_much(tmp_path):
    def blue_height(mean, correct):
        found = Reliability((Bin(0.8, 0.9, mean, Accuracy(correct, 1000)),), 0.1, 0.1, 0.5)
        plots.reliability({"confidence": found}, tmp_path / "r.png", "a run")
        image = pixels(tmp_path / "r.png")
        diagram = image[: len(image) * 2 // 3, image.shape[1] // 2 :]
        assert not share_of(image, "#e07b00")
        return np.flatnonzero((np.abs(diagram - [0x1F, 0x6F, 0xB4]).max(axis=2) < 40).any(axis=1))

    assert blue_height(0.85, 850).max() < blue_height(0.85, 300).min()
    votes = Reliability((Bin(0.9, 1.0, 1.0, Accuracy(7, 10)),), 0.0, 0.3, None)
    plots.reliability({"confidence": votes, "votes": votes}, tmp_path / "r.png")
    assert share_of(pixels(tmp_path / "r.png"), "#e07b00")


def test_a_figure_takes_the_place_of_the_old_one_when_it_is_whole(tmp_path):
    path, old = tmp_path / "kernels.png", tmp_path / "old.png"
    path.write_bytes(b"old")
    old.hardlink_to(path)
    conv = Conv(np.ones((3, 3, 1, 2), np.float32), np.zeros(2, np.float32))
    stack = ConvStack((conv,), (8, 8, 1))
    plots.kernels(stack, stack, path)
    assert old.read_bytes() == b"old"
    assert pixels(path).size
