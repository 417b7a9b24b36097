"""Search against a plain filter in Python over the same entries."""

import pytest
from aiida import orm
from conftest import entry_values
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_hardcoat.catalogue.query import COLUMNS, NUMBERS, canonical_system, search
from aiida_hardcoat.data.catalogue import catalogue
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.errors import InputError

LABEL = "searched"

# Values at, just above and just below whole numbers: an integer bound must not truncate what it is compared with.
ENTRIES = [
    {"fractions": {"Al": 0.5, "Ti": 0.5}, "c11": 500.0, "sqs_seed": 0},
    {"fractions": {"Al": 0.25, "Ti": 0.75}, "c11": 500.4, "sqs_seed": 1},
    {"fractions": {"Al": 0.75, "Ti": 0.25}, "c11": 499.6, "sqs_seed": 2, "level": "ase:7net-0"},
    {"fractions": {"Al": 0.5, "Zr": 0.5}, "c11": 450.0, "c12": 130.5, "structure_type": "B3", "ions": "clamped"},
    {"fractions": {"Hf": 0.5, "Zr": 0.5}, "c11": 520.9, "c12": 120.0},
    {"fractions": {"Ti": 1.0}, "c11": 584.0, "c12": 136.0, "c44": 166.0},
    {"fractions": {"Al": 1.0}, "c11": 100.0, "c12": 200.0, "c44": 50.0},
    {"fractions": {"Al": 0.2, "Hf": 0.3, "Ti": 0.5}, "c11": 1000.0, "c44": 99.5, "sqs_seed": 10},
    {"fractions": {"Al": 1 / 3, "Ti": 2 / 3}, "c11": 90.0, "c12": 10.0, "c44": 9.0},
]


@pytest.fixture(scope="module", autouse=True)
def entries(aiida_profile):
    """Stored entries, some of them outside the group."""
    nodes = [ElasticData(**entry_values(**changes)).store() for changes in ENTRIES]
    catalogue(LABEL).add_nodes(nodes)
    ElasticData(**entry_values()).store()
    catalogue("another").add_nodes(ElasticData(**entry_values()).store())
    return nodes


def plain(entries, system=None, elements=(), x=(None, None), ranges=None, **equal):
    def within(value, low, high, slack=0.0):
        if low is None and high is None:
            return True
        return value is not None and (low is None or value >= low - slack) and (high is None or value <= high + slack)

    return {
        entry.pk
        for entry in entries
        if (system is None or sorted(entry.elements) == sorted(system.split("-")))
        and set(elements) <= set(entry.elements)
        and within(entry.x, *x, slack=1e-6)
        and all(within(getattr(entry, name), *bounds) for name, bounds in (ranges or {}).items())
        and all(value is None or getattr(entry, name) == value for name, value in equal.items())
    }


bound = st.one_of(
    st.none(),
    st.integers(0, 600),
    st.floats(0, 600),
    st.sampled_from([500, 500.0, 500.4, 499, 499.6, 501, 0, 1, 0.5, 10, 584]),
)
bounds = st.tuples(bound, bound).map(lambda pair: pair if None in pair or pair[0] <= pair[1] else (pair[1], pair[0]))
fraction = st.one_of(st.none(), st.sampled_from([0, 0.25, 1 / 3, 0.333333, 0.5, 0.75, 1, 1.0]))
fractions = st.tuples(fraction, fraction).map(
    lambda pair: pair if None in pair or pair[0] <= pair[1] else (pair[1], pair[0])
)
filters = st.fixed_dictionaries(
    {},
    optional={
        "system": st.sampled_from(["Al-Ti-N", "Ti-Al-N", "N-Ti-Al", "Zr-Al-N", "Ti-N", "Al-Hf-Ti-N", "Cr-N"]),
        "elements": st.lists(st.sampled_from(["Al", "Ti", "Zr", "Hf", "N"]), unique=True, max_size=3),
        "structure_type": st.sampled_from(["B1", "B3", "B4"]),
        "x": fractions,
        "ranges": st.dictionaries(
            st.sampled_from(["c11", "c44", "bulk_modulus", "shear_modulus", "hardness_chen_2011", "sqs_seed", "x"]),
            bounds,
            max_size=3,
        ),
        "level": st.sampled_from(["ase:7net-l3i5", "ase:7net-0"]),
        "ions": st.sampled_from(["relaxed", "clamped"]),
        "stable": st.booleans(),
    },
)


@settings(max_examples=80, deadline=None)
@given(filters)
def test_search_is_a_plain_filter(entries, chosen):
    ranges = dict(chosen.get("ranges", {}))
    # `x` among the ranges takes the place of the argument, and has its slack for typed digits too.
    x = ranges.pop("x", chosen.get("x", (None, None)))
    expected = plain(entries, **{**chosen, "ranges": ranges, "x": x})
    found = search(label=LABEL, **chosen)
    assert {row["pk"] for row in found} == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize(
    ("chosen", "offered"), [({"level": "ase:7net"}, "ase:7net-0"), ({"structure_type": "b1"}, "B1")]
)
def test_a_value_that_no_entry_can_have_is_refused(entries, chosen, offered):
    with pytest.raises(InputError, match=f"did you mean '?{offered}"):
        search(label=LABEL, **chosen)


def test_rows_hold_every_column_as_stored(entries):
    rows = {row["pk"]: row for row in search(label=LABEL)}
    for entry in entries:
        row = rows[entry.pk]
        assert (row["uuid"], row["label"]) == (entry.uuid, entry.label)
        for name in COLUMNS:
            assert row[name] == getattr(entry, name)


@pytest.mark.parametrize("name", COLUMNS)
def test_sort_by_any_column_in_both_directions(name):
    def values(rows):
        return [row[name] for row in rows if row[name] is not None]

    rising, falling = search(label=LABEL, sort=name), search(label=LABEL, sort=f"-{name}")
    assert values(rising) == sorted(values(rising))
    assert values(falling) == sorted(values(falling), reverse=True)
    # What has no value is no winner: it stands last either way.
    for rows in (rising, falling):
        known = [row[name] is not None for row in rows]
        assert known == sorted(known, reverse=True)


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_limit_cuts_after_sorting(limit):
    everything = search(label=LABEL, sort="-c11")
    assert search(label=LABEL, sort="-c11", limit=limit) == everything[:limit]


def test_an_empty_catalogue_is_no_error():
    assert search(label="never made") == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"ranges": {"bulk_modulas": (1.0, None)}}, "bulk_modulus"),
        ({"ranges": {"system": (1.0, None)}}, "cannot search by 'system'"),
        ({"ranges": {"tensor": (1.0, None)}}, "tensor"),
        ({"ranges": {"c11": (300.0, 200.0)}}, "empty"),
        ({"x": (0.75, 0.25)}, "empty"),
        ({"ranges": {"c11": (float("nan"), None)}}, "c11"),
        ({"sort": "shear"}, "shear_modulus"),
        ({"sort": "-c1"}, "c11"),
        ({"system": "Al-Ti"}, "nitrogen"),
        ({"system": ""}, "nitrogen"),
        ({"system": "N"}, "nitrogen"),
    ],
)
def test_what_cannot_be_searched_by_is_named(arguments, words):
    with pytest.raises(InputError, match=words) as raised:
        search(label=LABEL, **arguments)
    assert "\n" not in str(raised.value)


@given(st.permutations(["Zr", "Al", "N", "Ti"]), st.sampled_from(["-", ",", "--"]))
def test_system_is_written_in_any_order(parts, separator):
    assert canonical_system(separator.join(parts)) == "Al-Ti-Zr-N"


def test_numbers_are_the_numeric_fields():
    node = orm.load_node(search(label=LABEL)[0]["pk"])
    for name in NUMBERS:
        assert getattr(node, name) is None or isinstance(getattr(node, name), (int, float))
    assert {"c11", "x", "bulk_modulus", "sqs_seed", "u"} <= set(NUMBERS)
    assert not {"stable", "system", "tensor"} & set(NUMBERS)
