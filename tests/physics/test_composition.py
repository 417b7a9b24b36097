"""Formulas are read exactly, written back canonically, and refused in one helpful line."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.composition import Composition, metal_counts, parse_composition

METALS = ["Al", "Ti", "Zr", "Hf", "V", "Nb", "Cr", "Si"]


@st.composite
def mixtures(draw):
    metals = draw(st.lists(st.sampled_from(METALS), min_size=1, max_size=5, unique=True))
    parts = draw(st.lists(st.integers(1, 60), min_size=len(metals), max_size=len(metals)))
    return dict(zip(metals, parts, strict=True))


@settings(deadline=None)
@given(mixtures())
def test_fractions_are_exact_and_the_canonical_formula_reads_back(parts):
    total = sum(parts.values())
    text = "".join(f"{metal}{count}/{total}" for metal, count in parts.items()) + "N"
    composition = parse_composition(text)
    assert dict(composition.fractions) == {metal: Fraction(count, total) for metal, count in parts.items()}
    assert list(composition.metals) == sorted(parts)
    assert parse_composition(composition.formula) == composition


@settings(deadline=None)
@given(mixtures(), st.randoms(use_true_random=False))
def test_order_and_number_of_formula_units_do_not_matter(parts, random):
    elements = [*parts.items(), ("N", sum(parts.values()))]
    first = parse_composition("".join(f"{symbol}{count}" for symbol, count in elements))
    random.shuffle(elements)
    assert parse_composition("".join(f"{symbol}{count}" for symbol, count in elements)) == first


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("Ti0.5Al0.5N", "Al0.5Ti0.5N"),
        ("Ti0.50 Al.5 N1.0", "Al0.5Ti0.5N"),
        ("Ti1.0Al0.0N", "TiN"),
        ("TiN", "TiN"),
        ("(Ti0.5Al0.5)N", "Al0.5Ti0.5N"),
        ("NTi", "TiN"),
        ("Ti1/3Al2/3N", "Al2/3Ti1/3N"),
        ("Ti2Al2N4", "Al0.5Ti0.5N"),
        ("Ti0.333Al0.667N", "Al0.667Ti0.333N"),
        ("Hf0.25Ti0.25Zr0.25Al0.25N", "Al0.25Hf0.25Ti0.25Zr0.25N"),
    ],
)
def test_canonical_formula(text, formula):
    assert parse_composition(text).formula == formula


def test_derived_names():
    composition = parse_composition("Ti0.75Al0.25N")
    assert composition.system == "Al-Ti-N"
    assert composition.elements == ("Al", "N", "Ti")
    assert composition.x == 0.25
    assert parse_composition("ZrN").x == 1.0


def test_other_anions_when_asked_for():
    assert parse_composition("Ti0.5W0.5C", anion="C").system == "Ti-W-C"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("N", "no metal"),
        ("Ti0N", "no metal"),
        ("TiO", "no nitride"),
        ("Ti0.5Al0.5", "no nitride"),
        ("Ti0.5O0.5N", "O in Ti0.5O0.5N is no metal"),
        ("Ti0.5Al0.6N", "sum to 1.1"),
        ("TiAlN", "sum to 2"),
        ("Ti1.5N", "sum to 1.5"),
        ("Ti0.5Al0.5N0.9", "0.9 N"),
        ("Ti-0.5Al1.5N", "negative"),
        ("Tx0.5Al0.5N", "Tx"),
        ("X0.5Al0.5N", "X in"),
        ("Ti0.5Ti0.5N", "twice"),
        ("Ti1/0N", "zero"),
        ("ti0.5al0.5n", "cannot read"),
        ("(Ti0.5Al0.5)2N2", "cannot read"),
        ("Ti0.5.5Al0.5N", "cannot read"),
        ("hello", "cannot read"),
    ],
)
def test_refusals_are_one_line_that_says_what_is_wrong(text, reason):
    with pytest.raises(InputError, match=reason) as refusal:
        parse_composition(text)
    assert "\n" not in str(refusal.value)


@settings(deadline=None)
@given(mixtures(), st.fractions(Fraction(1, 2), 2, max_denominator=50))
def test_the_formula_offered_for_a_wrong_sum_can_be_read(parts, factor):
    total = sum(parts.values())
    text = "".join(f"{metal}{count * factor / total}" for metal, count in parts.items()) + "N"
    if factor == 1:
        parse_composition(text)
        return
    with pytest.raises(InputError) as refusal:
        parse_composition(text)
    offered = parse_composition(str(refusal.value).rsplit(" ", 1)[1])
    assert set(offered.metals) == set(parts)


@settings(deadline=None)
@given(mixtures(), st.integers(1, 200))
def test_metal_counts_are_exact_or_what_is_offered_is_held(parts, sites):
    total = sum(parts.values())
    composition = Composition(tuple((m, Fraction(parts[m], total)) for m in sorted(parts)))
    try:
        counts = metal_counts(composition, sites)
    except InputError as refusal:
        words = str(refusal).split("take ")[1].split()
        if words[0] != "a":
            offered = parse_composition(words[0])
            counts = metal_counts(offered, sites)
            assert set(counts) == set(parts)
            for metal, fraction in composition.fractions:
                assert abs(counts[metal] - max(1, fraction * sites)) < len(parts)
        size = int(words[words.index("metal") - 1])
        assert sum(metal_counts(composition, size).values()) == size
    else:
        assert all(
            count == fraction * sites
            for count, (_, fraction) in zip(counts.values(), composition.fractions, strict=True)
        )
        assert sum(counts.values()) == sites


def test_a_composition_checks_itself():
    with pytest.raises(InputError, match="alphabetical"):
        Composition((("Ti", Fraction(1, 2)), ("Al", Fraction(1, 2))))
    with pytest.raises(InputError, match="add up"):
        Composition((("Al", Fraction(1, 2)), ("Ti", Fraction(1, 3))))
