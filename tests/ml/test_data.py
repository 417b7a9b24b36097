"""Data sets: what is read, what is refused with its line, what each rule removes, and splits that no order changes."""

import dataclasses
import gzip
import json
import lzma
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hardcoat_ml.cleaning import RULES, clean
from hardcoat_ml.crystal import formula_of, make_crystal
from hardcoat_ml.data import (
    AVERAGES,
    PARTS,
    Entry,
    averages_of,
    fingerprint,
    load_entries,
    split,
    unseen,
)
from hardcoat_ml.dataset_card import HELD_OUT, card_markdown, dataset_card
from hardcoat_ml.elements import SYMBOLS
from hardcoat_ml.errors import InputError

SHARED = Path(__file__).parents[3] / "shared"
REFERENCE = SHARED / "data" / "elastic_mp_ordered.jsonl.xz"
needs_reference = pytest.mark.skipif(not REFERENCE.exists(), reason="no reference data beside the checkout")

SIDE = st.floats(3.5, 9.0)
ELEMENT = st.integers(1, len(SYMBOLS) - 1)
MODULUS = st.floats(0.5, 500.0)


def row(**changes) -> dict:
    """A crystal in the B1 structure as the format has it; the figures are made up."""
    return {
        "mp_id": "mp-1",
        "source": "made up",
        "spacegroup": 225,
        "lattice": [[0.0, 2.12, 2.12], [2.12, 0.0, 2.12], [2.12, 2.12, 0.0]],
        "numbers": [22, 7],
        "frac": [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]],
        "K_VRH": 270.0,
        "G_VRH": 180.0,
    } | changes


def entry(side: float = 4.2, numbers: tuple[int, int] = (22, 7), **changes) -> Entry:
    crystal = make_crystal(side * np.eye(3), numbers, [[0, 0, 0], [0.5, 0.5, 0.5]])
    known = {"bulk_modulus": 270.0, "shear_modulus": 180.0, "formula": formula_of(numbers)}
    return Entry(crystal, **(known | changes))


@st.composite
def entries(draw) -> Entry:
    numbers = draw(ELEMENT), draw(ELEMENT)
    return entry(draw(SIDE), numbers, bulk_modulus=draw(MODULUS), shear_modulus=draw(MODULUS))


def cubic(c11: float, c12: float, c44: float) -> list[list[float]]:
    tensor = np.diag([c11 - c12] * 3 + [c44] * 3)
    tensor[:3, :3] += c12
    return tensor.tolist()


def written(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def refused(path: Path) -> str:
    with pytest.raises(InputError) as error:
        load_entries(path)
    text = str(error.value)
    assert "\n" not in text
    assert str(path) in text
    return text


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "opener"), [("jsonl", open), ("jsonl.xz", lzma.open), ("jsonl.gz", gzip.open)])
def test_what_is_written_is_read(tmp_path, suffix, opener):
    rows = [
        row(C_ieee_GPa=cubic(640, 115, 159), C_source="another release"),
        row(mp_id=None, spacegroup=None, numbers=[22, 6]),
        row(voigt_reuss=dict.fromkeys(AVERAGES, 200.0), C_raw_GPa=cubic(640, 115, 159), database_version="2030.1"),
    ]
    path = tmp_path / f"data.{suffix}"
    with opener(path, "wt") as stream:
        stream.write("\n".join(map(json.dumps, rows)))  # no line end after the last: nothing is missing
    first, second, third = load_entries(path)
    np.testing.assert_array_equal(first.crystal.lattice, rows[0]["lattice"])
    np.testing.assert_array_equal(first.crystal.fractional, rows[0]["frac"])
    assert first.crystal.numbers.tolist() == [22, 7]
    assert (first.bulk_modulus, first.shear_modulus, first.formula) == (270.0, 180.0, "N1Ti1")
    assert (first.identifier, first.spacegroup, first.source) == ("mp-1", 225, "made up")
    assert (first.elastic_tensor, first.tensor_source) == (cubic(640, 115, 159), "another release")
    assert (second.identifier, second.spacegroup, second.elastic_tensor, second.formula) == (None, None, None, "C1Ti1")
    assert third.voigt_reuss == dict.fromkeys(AVERAGES, 200.0)
    assert (third.tensor_source, third.database_version) == ("made up", "2030.1")


def test_the_compression_is_told_by_the_content(tmp_path):
    path = tmp_path / "misnamed.jsonl"
    path.write_bytes(lzma.compress(json.dumps(row()).encode()))
    assert len(load_entries(path)) == 1


@given(st.lists(st.tuples(SIDE, ELEMENT, MODULUS, MODULUS), min_size=1, max_size=4))
def test_no_digit_is_lost(tmp_path_factory, values):
    rows = [
        row(lattice=(side * np.eye(3)).tolist(), numbers=[number, 7], K_VRH=bulk, G_VRH=shear)
        for side, number, bulk, shear in values
    ]
    read = load_entries(written(tmp_path_factory.mktemp("rows") / "data.jsonl", *map(json.dumps, rows)))
    assert [(one.crystal.lattice[0, 0], one.bulk_modulus, one.shear_modulus) for one in read] == [
        (side, bulk, shear) for side, _, bulk, shear in values
    ]


BAD_ROWS = {
    "K_VRH is missing": "'K_VRH' is missing",
    "frac is null": "'frac' is missing or null",
    "K_VRH is NaN": "K_VRH is nan",
    "G_VRH is infinite": "G_VRH is -inf",
    "G_VRH is text": 'G_VRH is "180", not a number',
    "G_VRH is true": "G_VRH is true, not a number",
    "the lattice is 2x3": "three vectors",
    "the lattice is ragged": "regular array",
    "the lattice is flat": "per atom",
    "one position too few": "2 atoms need",
    "a position is NaN": "not finite",
    "no atoms": "at least one atomic number",
    "an unknown element": "300 is no atomic number",
    "symbols for numbers": "regular array",
    "a shared site": "partial occupancies",
    "occupancies": "partial occupancies",
    "a tensor of 5 rows": "6 rows of 6",
    "a tensor with NaN": "6 rows of 6",
    "averages without names": "voigt_reuss",
    "an average that is NaN": "K_voigt is nan",
    "space group 231": "space group",
    "a number for an id": "mp_id",
}


def bad_row(kind: str) -> dict:
    changes: dict = {
        "frac is null": {"frac": None},
        "K_VRH is NaN": {"K_VRH": math.nan},
        "G_VRH is infinite": {"G_VRH": -math.inf},
        "G_VRH is text": {"G_VRH": "180"},
        "G_VRH is true": {"G_VRH": True},
        "the lattice is 2x3": {"lattice": [[4, 0, 0], [0, 4, 0]]},
        "the lattice is ragged": {"lattice": [[4, 0, 0], [0, 4], [0, 0, 4]]},
        "the lattice is flat": {"lattice": [[4, 0, 0], [0, 4, 0], [4, 4, 0]]},
        "one position too few": {"frac": [[0, 0, 0]]},
        "a position is NaN": {"frac": [[0, 0, 0], [0, 0, math.nan]]},
        "no atoms": {"numbers": [], "frac": []},
        "an unknown element": {"numbers": [22, 300]},
        "symbols for numbers": {"numbers": ["Ti", "N"]},
        "a shared site": {"numbers": [{"Ti": 0.5, "Al": 0.5}, 7]},
        "occupancies": {"occupancies": [0.5, 1.0]},
        "a tensor of 5 rows": {"C_ieee_GPa": cubic(640, 115, 159)[:5]},
        "a tensor with NaN": {"C_raw_GPa": [[math.nan] * 6] * 6},
        "averages without names": {"voigt_reuss": [1, 2, 3, 4]},
        "an average that is NaN": {"voigt_reuss": dict.fromkeys(AVERAGES, math.nan)},
        "space group 231": {"spacegroup": 231},
        "a number for an id": {"mp_id": 149},
    }
    if kind == "K_VRH is missing":
        return {name: value for name, value in row().items() if name != "K_VRH"}
    return row(**changes[kind])


@pytest.mark.parametrize("kind", BAD_ROWS)
def test_a_bad_row_is_one_line_with_its_number(tmp_path, kind):
    good = json.dumps(row())
    text = refused(written(tmp_path / "data.jsonl", good, good, json.dumps(bad_row(kind)), good))
    assert "line 3:" in text
    assert BAD_ROWS[kind] in text


def test_a_partial_occupancy_asks_for_an_sqs(tmp_path):
    assert "hardcoat run" in refused(written(tmp_path / "data.jsonl", json.dumps(bad_row("a shared site"))))


@pytest.mark.parametrize("content", ["", "\n\n"])
@pytest.mark.parametrize("compress", [bytes, lzma.compress, gzip.compress])
def test_an_empty_file(tmp_path, content, compress):
    path = tmp_path / "data.jsonl"
    path.write_bytes(compress(content.encode()))
    assert "no entry" in refused(path)


def test_a_missing_file_and_a_folder(tmp_path):
    assert "Cannot read" in refused(tmp_path / "none.jsonl")
    assert "Cannot read" in refused(tmp_path)


def test_a_line_cut_short(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(row()) + "\n" + json.dumps(row())[:50])
    assert "line 2: not a whole JSON object; the file seems cut short" in refused(path)


@pytest.mark.parametrize("line", ["[1, 2]", "42", "not JSON", '{"lattice": ', "[" * 100_000])
def test_a_line_that_is_no_object(tmp_path, line):
    assert "line 2: not a" in refused(written(tmp_path / "data.jsonl", json.dumps(row()), line))


@pytest.mark.parametrize("compress", [lzma.compress, gzip.compress])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.99])
def test_a_compressed_file_cut_short(tmp_path, compress, share):
    lines = "".join(json.dumps(row(K_VRH=200 + number / 7)) + "\n" for number in range(3000))
    content = compress(lines.encode())
    path = tmp_path / "data.jsonl.xz"
    path.write_bytes(content[: int(share * len(content))])
    assert "is cut short or damaged after line" in refused(path)


def test_a_compressed_file_with_a_wrong_byte(tmp_path):
    content = bytearray(lzma.compress((json.dumps(row()) + "\n").encode() * 100))
    content[len(content) // 2] ^= 255
    path = tmp_path / "data.jsonl.xz"
    path.write_bytes(content)
    assert "damaged" in refused(path)


def test_a_file_that_is_not_text(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(json.dumps(row()).encode() + b"\n\xff\xfe\x00\n")
    assert "not text" in refused(path)


# --- cleaning ---------------------------------------------------------------------------------------------------------


ON_TOP = make_crystal(4 * np.eye(3), [22, 7], [[0, 0, 0], [0, 0, 0.05]])


def removed_by(one: Entry) -> list[str]:
    """Rules that remove one entry among others that all rules keep."""
    others = [entry(4.0 + number / 10, numbers=(22, 6)) for number in range(3)]
    kept, removed = clean([*others, one])
    assert len(kept) == 3 + (not any(removed.values()))
    return [name for name, count in removed.items() if count]


@pytest.mark.parametrize(
    ("one", "rule"),
    [
        (entry(bulk_modulus=math.nan), "not finite"),
        (entry(shear_modulus=math.inf), "not finite"),
        (entry(bulk_modulus=-3.0), "not positive"),
        (entry(shear_modulus=0.0), "not positive"),
        (entry(voigt_reuss=dict(zip(AVERAGES, (300.0, 240.0, 200.0, -1.0), strict=True))), "not positive"),
        (entry(bulk_modulus=674.21), "bulk beyond limit"),
        (entry(shear_modulus=20_374_681.54), "shear beyond limit"),
        (entry(elastic_tensor=cubic(100.0, 120.0, 50.0), tensor_source="unknown"), "unstable"),
        (entry(elastic_tensor=cubic(300.0, 120.0, -5.0), tensor_source="unknown"), "unstable"),
        (entry(voigt_reuss=dict(zip(AVERAGES, (280.0, 260.0, 98.32, 846.27), strict=True))), "Reuss above Voigt"),
        (
            entry(elastic_tensor=cubic(640.0, 115.0, 159.0), tensor_source="unknown", bulk_modulus=400.0),
            "contradicts tensor",
        ),
        (dataclasses.replace(entry(), crystal=ON_TOP), "atoms coincide"),
    ],
)
def test_each_rule_removes_what_it_says(one, rule):
    assert removed_by(one) == [rule]


@pytest.mark.parametrize(
    "one",
    [
        entry(),
        entry(bulk_modulus=436.0, shear_modulus=525.0),  # diamond, as the Materials Project has it
        entry(bulk_modulus=0.5, shear_modulus=0.2),  # molecular crystals are this soft
        entry(voigt_reuss=dict(zip(AVERAGES, (270.0, 270.0, 180.0, 180.0), strict=True))),
        entry(
            bulk_modulus=43.115,
            shear_modulus=24.59,
            voigt_reuss=dict(zip(AVERAGES, (72.8, 13.4, 40.4, 8.8), strict=True)),
        ),
        entry(elastic_tensor=cubic(100.0, 120.0, 50.0), tensor_source="another release"),
    ],
)
def test_good_entries_stay(one):
    assert removed_by(one) == []


def test_a_tensor_that_agrees_with_its_moduli_stays():
    averages = averages_of(cubic(640.0, 115.0, 159.0))
    bulk = (averages["K_voigt"] + averages["K_reuss"]) / 2
    shear = (averages["G_voigt"] + averages["G_reuss"]) / 2
    assert (
        removed_by(
            entry(
                elastic_tensor=cubic(640.0, 115.0, 159.0),
                tensor_source="unknown",
                bulk_modulus=bulk,
                shear_modulus=shear,
            )
        )
        == []
    )


def test_repeats_leave_the_better_one_in_any_order():
    bare = entry(bulk_modulus=271.0)
    known = entry(bulk_modulus=270.0, identifier="mp-1")
    elsewhere = entry(5.0, identifier="mp-1", elastic_tensor=cubic(640.0, 115.0, 159.0), tensor_source="x")
    for order in ([bare, known], [known, bare]):
        kept, removed = clean(order)
        assert kept == [known]
        assert removed["repeated crystal"] == 1
    for order in ([known, elsewhere], [elsewhere, known]):
        kept, removed = clean(order)
        assert kept == [elsewhere]
        assert removed["repeated identifier"] == 1


def test_nothing_is_removed_without_a_count():
    bad = [entry(bulk_modulus=value) for value in (math.nan, -1.0, 5000.0)]
    kept, removed = clean([entry(), *bad, entry()])
    assert set(removed) == {rule.name for rule in RULES}
    assert len(kept) + sum(removed.values()) == 5
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_no_entries_are_no_trouble_to_the_rules():
    assert clean([]) == ([], dict.fromkeys((rule.name for rule in RULES), 0))


@given(st.floats(20, 600), st.floats(-50, 500), st.floats(5, 400))
def test_averages_of_a_cubic_tensor(c11, c12, c44):
    """K = (c11 + 2 c12) / 3, G_V = (d + 3 c44) / 5, G_R = 5 d c44 / (4 c44 + 3 d) with d = c11 - c12 (Hill 1952)."""
    assume(c11 - c12 > 1 and c11 + 2 * c12 > 1)
    found = averages_of(cubic(c11, c12, c44))
    difference = c11 - c12
    assert found["K_voigt"] == pytest.approx((c11 + 2 * c12) / 3)
    assert found["K_reuss"] == pytest.approx((c11 + 2 * c12) / 3, rel=1e-6)
    assert found["G_voigt"] == pytest.approx((difference + 3 * c44) / 5)
    assert found["G_reuss"] == pytest.approx(5 * difference * c44 / (4 * c44 + 3 * difference))


def test_a_singular_tensor_has_no_stiffness_at_equal_stress():
    assert averages_of(np.zeros((6, 6)).tolist()) == dict.fromkeys(AVERAGES, 0.0)


@needs_reference
def test_the_reference_data_are_good():
    """Their moduli are of published, filtered sets: rules may remove repeats but no value."""
    read = load_entries(REFERENCE)
    kept, removed = clean(read)
    assert {name for name, count in removed.items() if count} <= {"repeated crystal"}
    assert len(kept) > 0.999 * len(read)
    stiffest = max(kept, key=lambda one: one.shear_modulus)
    assert stiffest.formula == "C1"
    own = [one for one in kept if one.elastic_tensor and one.tensor_source == one.source]
    for one in own:
        averages = averages_of(one.elastic_tensor)
        hill = [(averages[f"{name}_voigt"] + averages[f"{name}_reuss"]) / 2 for name in "KG"]
        assert hill == pytest.approx([one.bulk_modulus, one.shear_modulus], rel=2e-3)


# --- splitting and identity -------------------------------------------------------------------------------------------

FORMULAS = st.lists(st.text("AlNTi123", min_size=1, max_size=6), min_size=3, max_size=60)


@given(FORMULAS, st.integers(0, 2**40), st.randoms())
def test_a_split_knows_no_order(formulas, seed, rng):
    assume(len(set(formulas)) >= 3)
    parts = split(formulas, seed)
    order = list(range(len(formulas)))
    rng.shuffle(order)
    np.testing.assert_array_equal(split([formulas[index] for index in order], seed), parts[order])
    of = dict(zip(formulas, parts.tolist(), strict=True))
    assert [of[formula] for formula in formulas] == parts.tolist()  # one formula, one part
    assert set(of.values()) == {0, 1, 2}


@given(st.integers(3, 400), st.integers(0, 1000), st.integers(1, 4))
@settings(max_examples=40)
def test_a_split_is_8_to_1_to_1_in_formulas(count, seed, repeats):
    parts = split([f"X{number}" for number in range(count)] * repeats, seed)
    sizes = np.bincount(parts[:count], minlength=3)
    assert sizes[1] == sizes[2] == max(1, round(count / 10))
    assert parts.dtype == np.int8


def test_seeds_give_different_splits():
    formulas = [f"X{number}" for number in range(500)]
    first, second = split(formulas, 0), split(formulas, 1)
    assert (first != second).mean() > 0.2  # two independent splits agree at 0.8^2 + 2 * 0.1^2 = 0.66
    np.testing.assert_array_equal(first, split(formulas, 0))


def test_new_data_move_few_formulas():
    formulas = [f"X{number}" for number in range(1000)]
    before = split(formulas, 7)
    after = split([*formulas, *(f"Y{number}" for number in range(50))], 7)[:1000]
    assert (before != after).mean() < 0.03


def test_parts_can_be_left_out():
    formulas = [f"X{number}" for number in range(10)]
    assert sorted(split(formulas, 0, (0.7, 0.0, 0.3)).tolist()) == [0] * 7 + [2] * 3
    assert split(formulas, 0, (1.0, 0.0, 0.0)).tolist() == [0] * 10


@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.2), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5)])
def test_shares_that_are_none_are_refused(fractions):
    with pytest.raises(InputError, match="shares"):
        split(["A", "B", "C"], 0, fractions)


@pytest.mark.parametrize("formulas", [[], ["A"], ["A", "B", "A"]])
def test_too_few_formulas_are_refused(formulas):
    with pytest.raises(InputError, match="too few to split"):
        split(formulas, 0)


def test_elements_that_training_lacks_are_found():
    known, new = entry(numbers=(22, 7)), entry(numbers=(22, 36))
    parts = np.array([0, 1, 1, 0], dtype=np.int8)
    assert unseen([known, new, known, known], parts).tolist() == [False, True, False, False]
    assert unseen([known, new, known, new], parts).tolist() == [False] * 4


@given(st.lists(entries(), min_size=1, max_size=6), st.randoms())
def test_a_fingerprint_knows_no_order(some, rng):
    shuffled = list(some)
    rng.shuffle(shuffled)
    assert fingerprint(shuffled) == fingerprint(some)
    assert fingerprint([*some, some[0]]) != fingerprint(some)


@given(entries(), st.sampled_from(["bulk_modulus", "shear_modulus"]))
def test_a_fingerprint_sees_the_last_digit(one, name):
    changed = dataclasses.replace(one, **{name: np.nextafter(getattr(one, name), math.inf)})
    assert fingerprint([changed]) != fingerprint([one])
    lattice, numbers, fractional = one.crystal
    moved = dataclasses.replace(one, crystal=make_crystal(lattice, numbers, np.nextafter(fractional, 1)))
    assert fingerprint([moved]) != fingerprint([one])


def test_a_fingerprint_is_of_what_is_learned():
    """A signed zero, an id or another name for the source change nothing that a model sees."""
    minus = make_crystal(4.2 * np.eye(3), [22, 7], [[-0.0, 0, 0], [0.5, 0.5, 0.5]])
    assert fingerprint([entry()]) == fingerprint([entry(identifier="mp-9", source="x")])
    assert fingerprint([entry()]) == fingerprint([dataclasses.replace(entry(), crystal=minus)])


# --- the card ---------------------------------------------------------------------------------------------------------


def test_the_card_adds_up_and_is_json():
    some = [entry(4 + number / 100, numbers=(21 + number % 5, 7), database_version="2030.1") for number in range(20)]
    kept, removed = clean([*some, entry(bulk_modulus=-1.0)])
    parts = split([one.formula for one in kept], 3)
    card = json.loads(json.dumps(dataset_card(kept, parts, 3, removed)))
    assert card["read"] == 21
    assert card["entries"] == 20
    assert card["removed"]["not positive"]["count"] == 1
    assert card["database_versions"] == {"2030.1": 20}
    assert card["elements"] == {"N": 20, "Sc": 4, "Ti": 4, "V": 4, "Cr": 4, "Mn": 4}
    assert sum(card["split"]["parts"][name]["entries"] for name in PARTS) == 20
    assert sum(card["split"]["parts"][name]["formulas"] for name in PARTS) == card["formulas"] == 5
    assert card["split"]["seed"] == 3
    assert card["fingerprint"] == fingerprint(kept)
    assert "CC BY 4.0" in card["licence"]
    assert "Jain" in card["attribution"]
    assert "de Jong" in card["attribution"]
    text = card_markdown(card)
    assert card["fingerprint"] in text
    assert "2030.1" in text
    for rule in RULES:
        assert f"| {rule.name} | {rule} |" in text


def test_the_card_of_data_that_are_not_split_says_nothing_of_a_split():
    card = dataset_card([entry()], None, None, {})
    assert card["split"] is None
    assert "Split" not in card_markdown(card)


def test_the_card_names_what_is_held_out():
    some = [entry(numbers=(number, 7)) for number in (22, 23, 24, 40)]
    card = dataset_card(some, np.array([0, 1, 2, 3], dtype=np.int8), 0, {})
    assert card["split"]["parts"][HELD_OUT] == {"entries": 1, "formulas": 1}
    assert f"| {HELD_OUT} | 1 | 1 |" in card_markdown(card)
