"""Figures: what they show, that they leave no state behind, and that they are saved whole or not at all."""

import numpy as np
import pytest

from hardcoat_ml.errors import InputError
from hardcoat_ml.figures import coverage_figure, formula_text, loss_figure, parity_figure, save
from hardcoat_ml.metrics import PROPERTIES, youngs_and_poisson


def table(count, seed=0):
    random = np.random.default_rng(seed)
    bulk, shear = random.uniform(20, 300, count), random.uniform(10, 200, count)
    learned = bulk + random.normal(0, 5, count), shear + random.normal(0, 5, count)
    return tuple(
        dict(zip(PROPERTIES, (*pair, *youngs_and_poisson(*pair)), strict=True)) for pair in ((bulk, shear), learned)
    )


def texts(axes):
    return [text.get_text() for text in axes.texts]


def drawn(axes):
    return sum(len(collection.get_offsets()) for collection in axes.collections if hasattr(collection, "get_sizes"))


@pytest.mark.parametrize("count", [1, 30, 500])
def test_parity_has_a_square_panel_for_each_property_with_all_points(count):
    true, predicted = table(count)
    figure = parity_figure(true, predicted)
    assert len(figure.axes) == 4
    for axes, name in zip(figure.axes, PROPERTIES, strict=True):
        assert axes.get_xlim() == axes.get_ylim()
        assert axes.get_xlim()[0] <= true[name].min() <= true[name].max() <= axes.get_xlim()[1]
        assert drawn(axes) == count
        assert f"n = {count}" in texts(axes)[0]
    figure.canvas.draw()


def test_parity_names_the_largest_errors():
    true, predicted = table(300)
    predicted["bulk_modulus"][[5, 7]] += (150, -140)
    labels = ["Al1N1"] * 300
    labels[5], labels[7] = "O2Ti1", "C1Fe3"
    figure = parity_figure(true, predicted, labels, extremes=2)
    assert {"TiO$_{2}$", "Fe$_{3}$C"} < set(texts(figure.axes[0]))
    assert len(texts(figure.axes[0])) == 3
    assert len(parity_figure(true, predicted).axes[0].texts) == 1


def test_parity_keeps_absurd_predictions_at_the_edge():
    true, predicted = table(50)
    predicted["poisson_ratio"][3] = -80.0
    axes = parity_figure(true, predicted).axes[3]
    assert axes.get_xlim()[0] > -2
    assert drawn(axes) == 50


def test_parity_draws_intervals_of_few_points_only():
    from matplotlib.collections import LineCollection

    for count, expected in ((20, 20), (500, 0)):
        true, predicted = table(count)
        low, high = ({name: values + sign for name, values in predicted.items()} for sign in (-1, 1))
        axes = parity_figure(true, predicted, low=low, high=high).axes[0]
        lines = [collection for collection in axes.collections if isinstance(collection, LineCollection)]
        assert sum(len(line.get_segments()) for line in lines) == expected


def test_parity_of_some_properties():
    true, predicted = table(10)
    assert len(parity_figure({"bulk_modulus": true["bulk_modulus"]}, predicted).axes) == 1
    three = {name: true[name] for name in PROPERTIES[:3]}
    assert sum(axes.get_visible() for axes in parity_figure(three, predicted).axes) == 3


def history(members, epochs=20):
    return [
        {"epoch": epoch, "member": member, "training_loss": 1 / epoch, "validation_loss": 1.2 / epoch + 0.01 * member}
        for member in range(members)
        for epoch in range(1, epochs + 1)
    ]


@pytest.mark.parametrize(("members", "names"), [(1, 1), (5, 5), (30, 0)])
def test_losses_of_every_member_on_a_logarithmic_axis(members, names):
    axes = loss_figure(history(members)).axes[0]
    assert axes.get_yscale() == "log"
    assert len(axes.lines) == 2 * members
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert len([text for text in legend if text.startswith("member")]) == names


def test_losses_that_are_no_numbers_leave_a_gap_and_order_does_not_matter():
    rows = history(1)
    rows[3]["training_loss"], rows[4]["training_loss"], rows[5]["validation_loss"] = float("nan"), float("inf"), None
    training, validation = loss_figure(rows[::-1]).axes[0].lines
    assert training.get_xdata().tolist() == [1, 2, 3, *range(6, 21)]
    assert len(validation.get_xdata()) == 19


def test_coverage_of_domains():
    report = {"n": 40, "coverage": 0.85, "standard_error": 0.05}
    domains = {"random split": dict.fromkeys(PROPERTIES, report), "nitrides": dict.fromkeys(PROPERTIES, report)}
    axes = coverage_figure(domains).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["random split (n = 40)", "nitrides (n = 40)"]


def test_no_figure_is_left_to_pyplot():
    import matplotlib.pyplot as plt

    parity_figure(*table(5))
    loss_figure(history(2))
    assert plt.get_fignums() == []


def test_nothing_to_draw():
    for draw in (lambda: loss_figure([]), lambda: coverage_figure({}), lambda: parity_figure(*table(0))):
        with pytest.raises(InputError):
            draw()


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_saving(tmp_path, suffix, start):
    path = save(loss_figure(history(1)), tmp_path / f"losses.{suffix}")
    assert path.read_bytes().startswith(start)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_figure_that_cannot_be_drawn_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "losses.png"
    path.write_bytes(b"before")
    figure = loss_figure(history(1))

    def fail(file, **_):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(InputError, match="No space left"):
        save(figure, path)
    assert path.read_bytes() == b"before"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["losses", "losses.bmp", "nowhere/losses.png"])
def test_a_path_that_is_no_figure(tmp_path, name):
    with pytest.raises(InputError):
        save(loss_figure(history(1)), tmp_path / name)


@pytest.mark.parametrize(
    ("formula", "text"),
    [("Al1N1", "AlN"), ("Al2O3", "Al$_{2}$O$_{3}$"), ("C1Si1", "SiC"), ("N3O12Ti1", "TiN$_{3}$O$_{12}$")],
)
def test_formulas_in_labels(formula, text):
    assert formula_text(formula) == text
