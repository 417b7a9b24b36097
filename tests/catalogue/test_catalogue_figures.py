"""Figures: what is on them, that names do not meet, and that the same table gives the same file."""

import json
import re
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from aiida import orm
from conftest import empty_catalogue, entry_values, linked, prediction_values, rocksalt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.text import Annotation

from aiida_hardcoat.calculations.elastic import tensor_fields
from aiida_hardcoat.catalogue.figures import directional, maps, mixing, parity, stability, style
from aiida_hardcoat.catalogue.selection import Level
from aiida_hardcoat.catalogue.thermodynamics import (
    fit_table,
    gap_at,
    gap_table,
    missing_for_mixing,
    missing_for_stability,
    mixing_table,
    preferred_table,
    stability_table,
)
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PROPERTIES, PredictionData
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.hardness import FRACTURE_TOUGHNESS_MODELS, HARDNESS_MODELS
from aiida_hardcoat.physics.mixing_models import MixingModel
from aiida_hardcoat.physics.properties import elastic_properties

LABEL = "figures"
LEVEL = Level("ase:one", "1" * 16)
GRID = (0.0, 0.25, 0.5, 0.75, 1.0)


def points(system="Al-Ti-N", ions="relaxed", crossing=0.6):
    """B1, B3 and B4 of one system; a B4 with little of the first metal has fallen into Bk."""
    first, second, _ = system.split("-")
    rows = []
    for kind, model, slope in (("B1", (1.0, 0.2), 0), ("B3", (0.6, 0.1), 1.5), ("B4", (0.6, 0.1), 1.0)):
        for x in GRID:
            fell = kind == "B4" and x < 0.5
            rows.append(
                {
                    **{"system": system, "structure_type": kind, "relaxed_structure_type": "Bk" if fell else kind},
                    **{"ions": ions, "formula": f"{first}{x:g}{second}{1 - x:g}N", "x": x, "n": 1},
                    **{"number_of_atoms": 96, "energy_spread": 0.01 if x == 0.5 else None},
                    **{"level": LEVEL.level, "level_fingerprint": LEVEL.fingerprint},
                    "energy_per_formula": float(MixingModel(*model).energy(x)) + slope * (crossing - x),
                }
            )
    return rows


def mixing_of(rows):
    table = mixing_table(rows)
    fits = fit_table(table)
    energies = {"rows": table, "fits": fits, "missing": missing_for_mixing(rows, LEVEL), "level": LEVEL.level}
    return energies, {**energies, "rows": gap_table(fits), "at": [gap_at(fit, 1000.0) for fit in fits]}


def stability_of(rows):
    ranges = preferred_table(rows)
    return {"rows": stability_table(rows), "preferred": ranges, "missing": missing_for_stability(rows, LEVEL)}


def panels(figure):
    return [axes for axes in figure.axes if axes.axison]


def markers(axes):
    """Place and face of every point."""
    drawn = [mark for mark in axes.collections if isinstance(mark, PathCollection)]
    return [(*place, *mark.get_facecolor()[0]) for mark in drawn for place in mark.get_offsets()]


def texts(figure):
    shown = [text.get_text() for axes in figure.axes for text in axes.texts]
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return [*shown, *legends]


@pytest.fixture(scope="module")
def entries(aiida_profile):
    """TiN, which the model has seen, three alloys, AlN with clamped ions, one that is not stable, one without a
    prediction."""
    stored = {}
    group = empty_catalogue(LABEL)
    for name, (changes, prediction) in {
        "TiN": ({"fractions": {"Ti": 1.0}, "formula": "TiN", "c11": 584.0}, {"bulk": 280.0, "in_training_data": True}),
        "AlN": ({"fractions": {"Al": 1.0}, "formula": "AlN", "c11": 432.0, "ions": "clamped"}, {"bulk": 200.0}),
        "quarter": ({"fractions": {"Al": 0.25, "Ti": 0.75}, "c44": 170.0}, {"bulk": 240.0}),
        "half": ({"c44": 200.0}, {"bulk": 262.0, "in_training_data": True}),
        "three": ({"fractions": {"Al": 0.75, "Ti": 0.25}, "c44": 230.0}, {"bulk": 330.0, "far": True, "distance": 2.0}),
        "soft": ({"c11": 100.0, "c12": 200.0, "c44": 50.0, "structure_type": "B3"}, {}),
        "alone": ({"fractions": {"Zr": 1.0}, "formula": "ZrN", "c11": 544.0}, None),
    }.items():
        level = {"level": LEVEL.level, "level_fingerprint": LEVEL.fingerprint}
        fractions = changes.get("fractions", {"Al": 0.5, "Ti": 0.5})
        structure = orm.StructureData(ase=rocksalt())
        stored[name] = linked(structure, ElasticData(**entry_values(**changes, **level)))
        group.add_nodes([stored[name]])
        if prediction is not None:
            values = prediction_values(fractions, **prediction)
            group.add_nodes([linked(structure, PredictionData(**values))])
    return stored


@pytest.fixture(scope="module")
def learned(entries):
    return parity.parity_data(label=LABEL)


# --- energies against x ------------------------------------------------------------------------------------------


def test_a_panel_for_each_system_with_every_point_and_a_line_for_every_fit():
    rows = [*points(), *points("Al-Zr-N"), *points("Al-Zr-N", ions="clamped")]
    found, _ = mixing_of(rows)
    figure = mixing.mixing_figure(found)
    first, second = panels(figure)
    assert [len(markers(axes)) for axes in (first, second)] == [15, 30]
    for axes, lines in ((first, 3), (second, 6)):
        curves = [line for line in axes.lines if len(line.get_xdata()) > 10]
        assert len(curves) == lines
    x = np.asarray(curves[0].get_xdata(), dtype=float)
    assert curves[0].get_ydata() == pytest.approx(MixingModel(1.0, 0.2).energy(x), abs=1e-9)
    assert "Zr$_{1{-}x}$" in second.get_xlabel()
    assert "eV per formula unit" in first.get_ylabel()
    assert {"B1", "B3", "B4", "B4, now Bk", "ions relaxed", "ions clamped"} == set(texts(figure))


def test_gaps_are_drawn_from_foot_to_top_to_foot():
    _, found = mixing_of(points())
    figure = mixing.phase_figure(found)
    (axes,) = panels(figure)
    curves = [line for line in axes.lines if len(line.get_xdata()) > 10]
    assert len(curves) == 6
    for line in curves:
        x, temperatures = (np.asarray(values, dtype=float) for values in line.get_data())
        top = temperatures.argmax()
        assert (np.diff(x) >= 0).all()
        assert (np.diff(temperatures[: top + 1]) > 0).all()
    assert {"binodal", "spinodal"} <= set(texts(figure))


def test_the_range_of_rocksalt_is_drawn_and_its_end_written():
    found = stability_of(points())
    figure = stability.stability_figure(found)
    ((_, end),) = found["preferred"][0]["linear"]
    assert f"x = {end:.2f}" in texts(figure)
    (axes,) = panels(figure)
    bars = [line for line in axes.lines if line.get_linewidth() == 4]
    assert [tuple(bar.get_xdata()) for bar in bars] == [(0.0, end)]


@pytest.mark.parametrize(
    ("draw", "kind", "words"),
    [
        (mixing.mixing_figure, 0, "hardcoat run TiN -s B1"),
        (mixing.phase_page, 1, "hardcoat run TiN -s B1"),
    ],
)
def test_nothing_to_draw_names_the_command(draw, kind, words):
    rows = [row for row in points() if row["x"] > 0 and row["structure_type"] == "B1"]
    with pytest.raises(InputError, match=words):
        draw(mixing_of(rows)[kind])


def test_no_gap_and_no_stability_are_said():
    rows = points()
    for row in rows:
        row["energy_per_formula"] = -float(MixingModel(0.5).energy(row["x"]))
    with pytest.raises(InputError, match="mixes at all temperatures"):
        mixing.phase_figure(mixing_of(rows)[1])
    with pytest.raises(InputError, match="hardcoat run"):
        stability.stability_figure(stability_of([row for row in points() if row["structure_type"] == "B1"]))


# --- parity ------------------------------------------------------------------------------------------------------


def test_rows_and_scores_of_the_parity_plot(entries, learned):
    rows = {(row["formula"], row["structure_type"]): row for row in learned["rows"]}
    assert len(rows) == 6
    assert [row["formula"] for row in learned["missing"]] == ["ZrN"]
    assert entries["alone"].uuid in learned["missing"][0]["command"]
    row = rows["TiN", "B1"]
    assert (row["bulk_modulus"], row["predicted_bulk_modulus"]) == (entries["TiN"].bulk_modulus, 280.0)
    assert (row["predicted_bulk_modulus_low"], row["predicted_bulk_modulus_high"]) == (250.0, 340.0)
    # An alloy of a formula in the training data is judged all the same: only end members are not.
    assert [key[0] for key, row in rows.items() if row["known_end_member"]] == ["TiN"]
    differences = [
        abs(entries[name].bulk_modulus - rows[entries[name].formula, "B1"]["predicted_bulk_modulus"])
        for name in ("AlN", "quarter", "half", "three")
    ]
    differences.append(
        abs(entries["soft"].bulk_modulus - rows[entries["soft"].formula, "B3"]["predicted_bulk_modulus"])
    )
    score = learned["scores"]["bulk_modulus"]
    assert (score["n"], score["mae"]) == (5, pytest.approx(np.mean(differences)))
    assert learned["scores"]["shear_modulus"]["n"] == 4  # one has no shear modulus


def test_parity_panels_show_points_intervals_errors_and_extremes(entries, learned):
    figure = parity.parity_figure(learned)
    drawn = panels(figure)
    assert len(drawn) == len(PROPERTIES)
    for name, axes in zip(PROPERTIES, drawn, strict=True):
        known = [row for row in learned["rows"] if row[name] is not None]
        assert len(markers(axes)) == len(known)
        hollow = [mark for mark in markers(axes) if mark[2:] == (1, 1, 1, 1)]
        assert len(hollow) == 1
        assert axes.get_xlim() == axes.get_ylim()
        unit = " GPa" if name != "poisson_ratio" else ""
        digits = 1 if unit else 3
        assert f"MAE {learned['scores'][name]['mae']:.{digits}f}{unit}" in axes.texts[0].get_text()
    bulk = [text.get_text() for text in drawn[0].texts]
    assert "Al$_{0.75}$Ti$_{0.25}$N B1" in bulk  # the worst of all
    assert not any("TiN B1" in text and "Al" not in text for text in bulk)


def test_no_prediction_says_how_to_get_one(entries):
    group = empty_catalogue("figures without predictions")
    group.add_nodes([entries["alone"]])
    with pytest.raises(InputError, match="hardcoat ml predict --all --store"):
        parity.parity_data(label=group.label)


# --- maps --------------------------------------------------------------------------------------------------------


def test_ductility_has_both_criteria_in_sight(entries):
    found = maps.ductility_data(label=LABEL)
    assert [row["structure_type"] for row in found["undefined"]] == ["B3"]
    row = next(row for row in found["rows"] if row["formula"] == "TiN")
    entry = entries["TiN"]
    assert row["pugh_ratio"] == pytest.approx(entry.bulk_modulus / entry.shear_modulus)
    assert row["cauchy_pressure"] == pytest.approx(entry.c12 - entry.c44)
    figure = maps.ductility_figure(found)
    (axes,) = panels(figure)
    left, right = axes.get_xlim()
    bottom, top = axes.get_ylim()
    assert left < 0 < right
    assert bottom < maps.PUGH < top
    assert len(markers(axes)) == len(found["rows"])


@pytest.mark.parametrize("hardness", HARDNESS_MODELS)
@pytest.mark.parametrize("toughness", FRACTURE_TOUGHNESS_MODELS)
def test_hardness_and_toughness_are_those_of_the_models(entries, hardness, toughness):
    found = maps.toughness_data(label=LABEL, hardness=hardness, toughness=toughness)
    row = next(row for row in found["rows"] if row["formula"] == "TiN")
    bulk, shear = entries["TiN"].bulk_modulus, entries["TiN"].shear_modulus
    assert row["hardness"] == HARDNESS_MODELS[hardness](bulk, shear)
    volume = entries["TiN"].volume_per_formula / 2
    assert row["fracture_toughness"] == FRACTURE_TOUGHNESS_MODELS[toughness](bulk, shear, volume)
    axes = panels(maps.toughness_figure(found))[0]
    assert "GPa" in axes.get_xlabel()
    assert "MPa m" in axes.get_ylabel()


@pytest.mark.parametrize("choice", [{"hardness": "chen_2012"}, {"toughness": "niu_2018"}])
def test_models_that_do_not_exist_are_refused(entries, choice):
    with pytest.raises(InputError, match=r"did you mean '(chen_2011|niu_2019)'"):
        maps.toughness_data(label=LABEL, **choice)


def test_of_many_points_only_some_are_named(entries):
    found = maps.ductility_data(label=LABEL)
    rows = [{**row, "pugh_ratio": row["pugh_ratio"] + 0.01 * step} for step in range(20) for row in found["rows"]]
    plane = maps.DUCTILITY
    assert len(maps.named_rows(found["rows"], plane)) == len(found["rows"])
    named = maps.named_rows(rows, plane)
    assert len(named) < len(rows)
    assert max(row["pugh_ratio"] for row in named) == max(row["pugh_ratio"] for row in rows)


# --- Young's modulus by direction -----------------------------------------------------------------------------------


def test_surface_of_an_isotropic_crystal_is_a_sphere(aiida_profile):
    entry = ElasticData(**entry_values(c11=500.0, c12=150.0, c44=175.0)).store()
    found = directional.directional_data(entry)
    reach, modulus = directional.surface(found)
    assert modulus == pytest.approx(np.full_like(modulus, entry.youngs_modulus))
    assert np.linalg.norm(reach, axis=-1) == pytest.approx(modulus)
    low, high = directional.colour_range(found)
    assert low < entry.youngs_modulus < high


def test_directions_of_cubic_and_hexagonal_crystals(entries):
    found = directional.directional_data(entries["TiN"])
    s = np.linalg.inv(entries["TiN"].tensor_gpa)
    assert found["directions"]["[100]"] == pytest.approx(1 / s[0, 0])
    compliance = s[0, 0] - 2 / 3 * (s[0, 0] - s[0, 1] - s[3, 3] / 2)
    assert found["directions"]["[111]"] == pytest.approx(1 / compliance)
    values = [row["youngs_modulus"] for row in found["rows"]]
    assert found["minimum"] <= min(values) * (1 + 1e-9)
    assert found["maximum"] >= max(values) * (1 - 1e-9)

    tensor = np.diag([400.0, 400.0, 380.0, 110.0, 110.0, 130.0])
    tensor[0, 1] = tensor[1, 0] = 140.0
    tensor[:2, 2] = tensor[2, :2] = 110.0
    fields = tensor_fields(elastic_properties(tensor, "hexagonal", density=3200.0, atoms_per_volume=0.1))
    hexagonal = {"crystal_class": "hexagonal", "structure_type": "B4", "relaxed_structure_type": "B4"}
    entry = ElasticData(**{**entry_values(), **fields, **hexagonal, "tensor_fitted": tensor.tolist()}).store()
    along = directional.directional_data(entry)["directions"]
    s = np.linalg.inv(tensor)
    assert (along["along a"], along["along c"]) == pytest.approx((1 / s[0, 0], 1 / s[2, 2]))


def test_an_unstable_crystal_has_no_surface(entries):
    with pytest.raises(InputError, match="not stable"):
        directional.directional_data(entries["soft"])


# --- names ----------------------------------------------------------------------------------------------------------


def test_names_meet_neither_each_other_nor_the_edge():
    figure = style.new_figure(4, 3)
    axes = figure.subplots()
    rng = np.random.default_rng(1)
    places = [tuple(place) for place in rng.uniform(0, 1, (40, 2))]
    axes.set(xlim=(0, 1), ylim=(0, 1))
    figure.draw_without_rendering()
    style.place_labels(figure, axes, [style.Label(*place, "Al$_{0.5}$Ti$_{0.5}$N") for place in places], places)
    renderer = FigureCanvasAgg(figure).get_renderer()
    shown = [text for text in axes.texts if isinstance(text, Annotation) and text.get_text()]
    assert 5 < len(shown) <= 40
    boxes = [text.get_window_extent(renderer) for text in shown]
    panel = axes.get_window_extent()
    for one, other in combinations(boxes, 2):
        assert not one.overlaps(other)
    for text, box in zip(shown, boxes, strict=True):
        assert panel.x0 <= box.x0
        assert box.x1 <= panel.x1
        for place in places:
            x, y = axes.transData.transform(place)
            assert not (box.x0 < x < box.x1 and box.y0 < y < box.y1), text.xy


@pytest.mark.parametrize(
    ("formula", "html"),
    [("TiN", "TiN"), ("Al0.5Ti0.5N", "Al<sub>0.5</sub>Ti<sub>0.5</sub>N"), ("Al1/3Ti2/3N", None)],
)
def test_formulas_have_their_numbers_below_the_line(formula, html):
    expected = html or "Al<sub>1/3</sub>Ti<sub>2/3</sub>N"
    assert style.formula_html(formula) == expected


# --- files ----------------------------------------------------------------------------------------------------------

FIGURES = {
    "mixing": lambda: mixing.mixing_figure(mixing_of(points())[0]),
    "phase": lambda: mixing.phase_figure(mixing_of(points())[1]),
    "stability": lambda: stability.stability_figure(stability_of(points())),
}


@pytest.mark.parametrize(
    ("name", "kind"), [("mixing", "svg"), ("phase", "svg"), ("stability", "svg"), ("mixing", "png"), ("mixing", "pdf")]
)
def test_the_same_table_gives_the_same_bytes(tmp_path, name, kind):
    first, second = (style.save(FIGURES[name](), tmp_path / f"{turn}.{kind}").read_bytes() for turn in "ab")
    assert first == second
    assert len(first) > 1000


def test_another_process_writes_the_same_svg(tmp_path, entries):
    found = maps.ductility_data(label=LABEL)
    here = style.save(maps.ductility_figure(found), tmp_path / "here.svg").read_text()
    assert "<dc:date>" not in here
    (tmp_path / "table.json").write_text(json.dumps(found))
    program = (
        "import json, sys; from aiida_hardcoat.catalogue.figures import maps, style;"
        "style.save(maps.ductility_figure(json.load(open('table.json'))), 'there.svg')"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=120)
    assert (tmp_path / "there.svg").read_text() == here


PAGES = {
    "mixing": lambda learned, entries: mixing.mixing_page(mixing_of(points())[0]),
    "phase": lambda learned, entries: mixing.phase_page(mixing_of(points())[1]),
    "stability": lambda learned, entries: stability.stability_page(stability_of(points())),
    "parity": lambda learned, entries: parity.parity_page(learned),
    "ductility": lambda learned, entries: maps.ductility_page(maps.ductility_data(label=LABEL)),
    "toughness": lambda learned, entries: maps.toughness_page(maps.toughness_data(label=LABEL)),
    "directional": lambda learned, entries: directional.directional_page(directional.directional_data(entries["TiN"])),
}


@pytest.mark.parametrize("name", PAGES)
def test_pages_hold_all_they_need(tmp_path, learned, entries, name):
    page = PAGES[name](learned, entries)
    text = style.save(page, tmp_path / "page.html").read_text("utf-8")
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", text)
    assert "Plotly.newPlot" in text
    assert len(text) > 3_000_000  # plotly's own code is inside
    again = style.save(PAGES[name](learned, entries), tmp_path / "again.html").read_text("utf-8")
    assert again == text


@pytest.mark.parametrize(
    ("name", "words"), [("x.jpg", ".png, .svg, .pdf or .html"), ("none/x.png", "no folder"), ("x", "no figure")]
)
def test_targets_that_cannot_be(tmp_path, name, words):
    with pytest.raises(InputError, match=words):
        style.check_target(tmp_path / name)


def test_a_folder_is_no_target(tmp_path):
    (tmp_path / "x.png").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        style.check_target(tmp_path / "x.png")


def test_a_figure_that_fails_leaves_the_old_file_alone(tmp_path):
    target = tmp_path / "x.svg"
    target.write_text("old")

    class Broken:
        def savefig(self, path, **options):
            path.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match="No space left"):
        style.save(Broken(), target)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]
