"""Mixing energies, stabilities and what follows, on entries whose energies come from known models."""

import pytest
from conftest import empty_catalogue, entry_values
from hypothesis import given
from hypothesis import strategies as st

from aiida_hardcoat.catalogue.thermodynamics import (
    Series,
    by_series,
    fit_table,
    gap_at,
    gap_table,
    mixing_data,
    mixing_table,
    phase_data,
    preferred_table,
    stability_data,
    stability_table,
)
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.mixing_models import BOLTZMANN, MixingModel

LABEL = "thermodynamics"
LEVEL = {"level": "ase:one", "level_fingerprint": "1" * 16}
OTHER = {"level": "ase:two", "level_fingerprint": "2" * 16}
ENDS = {"Al": -15.0, "Ti": -19.5, "Zr": -20.5}
OFFSETS = {"B1": {"Al": 0.0, "Ti": 0.0}, "B3": {"Al": -0.3, "Ti": 0.6}}
MODELS = {"B1": MixingModel(1.0, 0.2), "B3": MixingModel(0.5, -0.1)}
QUARTERS = (0.25, 0.5, 0.75)


def energy(kind, x):
    """Of Al_xTi_(1-x)N at the first level, eV per formula unit."""
    linear = x * (ENDS["Al"] + OFFSETS[kind]["Al"]) + (1 - x) * (ENDS["Ti"] + OFFSETS[kind]["Ti"])
    return float(linear + MODELS[kind].energy(x))


def entry(fractions, kind, value, **changes):
    formula = "".join(metal + ("" if share == 1 else f"{share:g}") for metal, share in sorted(fractions.items())) + "N"
    values = entry_values(fractions, kind, formula=formula, energy_per_formula=value)
    return ElasticData(**{**values, **LEVEL, **changes}).store()


@pytest.fixture(scope="module", autouse=True)
def entries(aiida_profile):
    stored = []
    for kind in ("B1", "B3"):
        stored += [entry({metal: 1.0}, kind, energy(kind, float(metal == "Al"))) for metal in ("Al", "Ti")]
        stored += [entry({"Al": x, "Ti": 1 - x}, kind, energy(kind, x)) for x in QUARTERS]
    # Two quasirandom structures in place of one: their mean counts.
    stored.append(entry({"Al": 0.5, "Ti": 0.5}, "B1", energy("B1", 0.5) + 0.02, sqs_seed=1))
    stored.append(entry({"Al": 0.5, "Ti": 0.5}, "B1", energy("B1", 0.5) - 0.02, sqs_seed=2))
    # A B4 that fell into Bk, without a second end member; clamped ions without end members; another level.
    fallen = {"relaxed_structure_type": "Bk", "number_of_atoms": 32}
    stored.append(entry({"Al": 0.25, "Ti": 0.75}, "B4", -18.0, **fallen))
    stored.append(entry({"Ti": 1.0}, "B4", -19.2, relaxed_structure_type="Bk"))
    stored.append(entry({"Al": 0.5, "Ti": 0.5}, "B1", -10.0, ions="clamped"))
    stored.append(entry({"Al": 0.5, "Ti": 0.5}, "B1", -17.0, **OTHER))
    stored += [entry({metal: 1.0}, "B1", ENDS[metal] - 1.0, **OTHER) for metal in ("Al", "Ti")]
    # Three metals are no pseudo-binary system, and an end member alone is no system either.
    stored.append(entry({"Al": 0.5, "Ti": 0.25, "Zr": 0.25}, "B1", -17.0))
    stored.append(entry({"Zr": 1.0}, "B1", ENDS["Zr"]))
    empty_catalogue(LABEL).add_nodes(stored)
    return stored


@pytest.fixture
def mixing():
    return mixing_data("ase:one", label=LABEL)


@pytest.fixture
def stability():
    return stability_data("ase:one", label=LABEL)


def test_mixing_energies_are_those_of_the_models(mixing):
    groups = by_series(mixing["rows"])
    assert set(groups) == {Series("Al-Ti-N", kind, "relaxed") for kind in ("B1", "B3")}
    for group, rows in groups.items():
        assert [row["x"] for row in rows] == [0.0, *QUARTERS, 1.0]
        for row in rows:
            expected = float(MODELS[group.structure_type].energy(row["x"]))
            assert row["mixing_energy"] == pytest.approx(expected, abs=1e-9)
            assert row["mixing_energy_per_atom"] == pytest.approx(expected / 2, abs=1e-9)
            assert (row["level"], row["level_fingerprint"]) == ("ase:one", "1" * 16)


def test_several_structures_are_averaged_and_their_spread_is_kept(mixing):
    (row,) = [row for row in mixing["rows"] if (row["structure_type"], row["x"]) == ("B1", 0.5)]
    assert row["n"] == 3
    assert row["energy_spread"] == pytest.approx(0.02)


def test_fits_find_the_models_with_their_critical_points(mixing):
    for fit in mixing["fits"]:
        model = MODELS[fit["structure_type"]]
        assert (fit["l0"], fit["l1"]) == pytest.approx((model.l0, model.l1), abs=1e-9)
        assert (fit["model"], fit["n"], fit["became"]) == ("sub-regular", 3, [])
        assert fit["residual"] < 1e-9
        top = fit["critical_temperature"]
        assert top == pytest.approx(float(model.spinodal_temperature(fit["critical_x"])))


def test_levels_are_never_pooled():
    with pytest.raises(InputError, match="--level"):
        mixing_data(label=LABEL)
    (fit,) = mixing_data("ase:two", label=LABEL)["fits"]
    expected = -17.0 - (ENDS["Al"] + ENDS["Ti"]) / 2 + 1.0
    assert fit["l0"] == pytest.approx(4 * expected)
    assert (fit["model"], fit["l1"]) == ("regular", 0.0)


def test_gaps_follow_the_fits():
    found = phase_data(1000.0, level="ase:one", label=LABEL)
    for group, rows in by_series(found["rows"]).items():
        model = MODELS[group.structure_type]
        assert len({row["temperature"] for row in rows}) == len(rows)
        for row in rows:
            edges = [row[name] for name in ("binodal_low", "spinodal_low", "spinodal_high", "binodal_high")]
            assert edges == sorted(edges)
            for x in edges[1:3]:
                assert float(model.spinodal_temperature(x)) == pytest.approx(row["temperature"], abs=1e-6)
    assert [row["temperature"] for row in found["at"]] == [1000.0, 1000.0]
    hot = gap_at(found["fits"][0], 1e5)
    assert {hot[name] for name in ("binodal_low", "binodal_high", "spinodal_low", "spinodal_high")} == {None}
    with pytest.raises(InputError, match="above 0 K"):
        phase_data(0.0, level="ase:one", label=LABEL)


def test_stability_is_the_energy_against_rocksalt_of_the_same_composition(stability):
    rows = {(row["structure_type"], row["x"]): row for row in stability["rows"]}
    assert set(rows) == {("B3", x) for x in (0.0, *QUARTERS, 1.0)} | {("B4", 0.0), ("B4", 0.25)}
    for (kind, x), row in rows.items():
        if kind == "B3":
            expected = energy("B3", x) - energy("B1", x)
            assert row["structural_stability"] == pytest.approx(expected, abs=1e-9)
            assert row["structural_stability_per_atom"] == pytest.approx(expected / 2, abs=1e-9)
        else:
            assert row["relaxed_structure_type"] == "Bk"


def points(**energies):
    """Rows of Al-Ti-N by structure type: energies by x."""
    return [
        {
            **{"system": "Al-Ti-N", "structure_type": kind, "relaxed_structure_type": kind, "ions": "relaxed"},
            **{"formula": f"Al{x}Ti{1 - x}N", "x": x, "energy_per_formula": value, "number_of_atoms": 96, "n": 1},
            **{"energy_spread": None, "level": "ase:one", "level_fingerprint": "1" * 16},
        }
        for kind, values in energies.items()
        for x, value in values.items()
    ]


GRID = (0.0, 0.25, 0.5, 0.75, 1.0)


def test_rocksalt_is_preferred_up_to_the_crossing_by_both_ways():
    (found,) = preferred_table(points(**{kind: {x: energy(kind, x) for x in GRID} for kind in ("B1", "B3")}))
    assert (found["against"], found["covered"], found["points"]) == (["B3"], [(0.0, 1.0)], 5)
    ((start, linear),) = found["linear"]
    assert start == 0
    # By straight lines: zero of the segment that changes its sign.
    x = max(x for x in GRID if energy("B3", x) > energy("B1", x))
    low, high = (energy("B3", place) - energy("B1", place) for place in (x, x + 0.25))
    assert linear == pytest.approx(x + 0.25 * low / (low - high))
    # By the fits: a true zero of the difference.
    ((start, fitted),) = found["fit"]
    assert start == 0
    assert energy("B3", fitted) == pytest.approx(energy("B1", fitted), abs=1e-9)


def test_rocksalt_must_be_lower_than_every_other_type():
    rows = points(
        B1=dict.fromkeys(GRID, 0.0),
        B3=dict(zip(GRID, (1.0, 1.0, 1.0, -1.0, -1.0), strict=True)),
        B4=dict(zip(GRID[:4], (-1.0, 1.0, 1.0, 1.0), strict=True)),
    )
    (found,) = preferred_table(rows)
    assert found["against"] == ["B3", "B4"]
    assert found["covered"] == [(0.0, 0.75)]
    assert found["linear"] == [(0.125, 0.625)]
    assert found["fit"] is None  # B4 has no second end member


@given(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
def test_without_mixing_both_ways_are_one_straight_line(first, last):
    rows = points(B1=dict.fromkeys(GRID, 0.0), B3={x: first + x * (last - first) for x in GRID})
    (found,) = preferred_table(rows)
    length = {name: sum(high - low for low, high in found[name]) for name in ("linear", "fit")}
    if abs(first - last) > 1e-3:
        assert length["linear"] == pytest.approx(length["fit"], abs=1e-6)
    if min(first, last) > 0:
        assert length["linear"] == 1
    if max(first, last) < 0:
        assert length["linear"] == 0


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_counting_x_from_the_other_metal_mirrors_everything(l0, l1):
    model = MixingModel(l0, l1)
    (fit,) = fit_table(mixing_table(points(B1={x: float(model.energy(x)) for x in GRID})))
    (mirror,) = fit_table(mixing_table(points(B1={1 - x: float(model.energy(x)) for x in GRID})))
    assert (mirror["l0"], mirror["l1"]) == pytest.approx((fit["l0"], -fit["l1"]), abs=1e-9)
    if fit["critical_temperature"] and fit["critical_temperature"] > 1:
        assert mirror["critical_x"] == pytest.approx(1 - fit["critical_x"], abs=1e-6)


def test_gap_closes_at_the_critical_point():
    (fit,) = fit_table(mixing_table(points(B1={x: float(MixingModel(0.4).energy(x)) for x in GRID})))
    assert fit["critical_temperature"] == pytest.approx(0.2 / BOLTZMANN)
    top = gap_table([fit])[0]
    assert top["temperature"] == fit["critical_temperature"]
    assert {top[name] for name in ("binodal_low", "binodal_high", "spinodal_low", "spinodal_high")} == {
        fit["critical_x"]
    }


def test_a_point_that_fell_is_marked_in_the_fit():
    rows = points(B4={x: float(MixingModel(0.4).energy(x)) for x in GRID})
    rows[1]["relaxed_structure_type"] = "Bk"
    (fit,) = fit_table(mixing_table(rows))
    assert fit["became"] == [0.25]


def test_no_stability_without_rocksalt():
    assert stability_table(points(B3={0.5: -17.0})) == []
    assert preferred_table(points(B3={0.5: -17.0})) == []


# --- what is missing -----------------------------------------------------------------------------------------------


def commands(found, **place):
    return [row["command"] for row in found["missing"] if all(row[name] == value for name, value in place.items())]


def test_missing_end_members_and_alloys_are_named_with_their_commands(mixing):
    assert commands(mixing, structure_type="B4") == [
        "hardcoat run AlN -s B4 --ions relaxed --engine ase:one",
    ]
    assert commands(mixing, ions="clamped") == [
        f"hardcoat run {metal}N -s B1 --ions clamped --engine ase:one" for metal in ("Al", "Ti")
    ]
    assert commands(mixing, structure_type="B1", ions="relaxed") == []
    other = mixing_data("ase:two", label=LABEL)
    assert commands(other) == ["hardcoat run Al0.25Ti0.75N -s B1 --ions relaxed --engine ase:two"]


def test_missing_structure_types_are_named_with_their_commands(stability):
    wanted = {(row["formula"], row["structure_type"], row["ions"]) for row in stability["missing"]}
    assert wanted == {
        *(("Al0.5Ti0.5N", kind, "relaxed") for kind in ["B4"]),
        *(("Al0.75Ti0.25N", kind, "relaxed") for kind in ["B4"]),
        ("AlN", "B4", "relaxed"),
        *(("Al0.5Ti0.5N", kind, "clamped") for kind in ("B3", "B4")),
    }


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"system": "Al-Ti-Zr-N"}, "two metals"),
        ({"system": "Ti-N"}, "two metals"),
        ({"system": "Ti-Zr-N"}, "no alloy of Ti-Zr-N at ase:one: `hardcoat run Ti0.5Zr0.5N -s B1"),
        ({"system": "Hf-Zr-N", "ions": "clamped"}, "hardcoat run Hf0.5Zr0.5N -s B1 --ions clamped --engine ase:one"),
        ({"level": "ase:three"}, "no entry of level"),
        ({"label": "never made"}, "empty"),
    ],
)
@pytest.mark.parametrize("data", [mixing_data, stability_data])
def test_what_cannot_be_shown_is_one_line(data, choices, words):
    with pytest.raises(InputError, match=words) as raised:
        data(**{"level": "ase:one", "label": LABEL, **choices})
    assert "\n" not in str(raised.value)


def test_one_system_has_its_end_members(mixing):
    assert mixing_data("ase:one", system="N-Ti-Al", label=LABEL) == mixing
