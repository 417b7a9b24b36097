"""Search against a plain filter in Python over the same entries, on the command line, and the recipes of the docs."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from aiida import orm
from click.testing import CliRunner
from conftest import empty_catalogue, entry_values, linked, prediction_values
from hypothesis import given, settings
from hypothesis import strategies as st

from aiida_hardcoat.catalogue import query
from aiida_hardcoat.catalogue.query import (
    ALL_COLUMNS,
    COLUMNS,
    FIELDS,
    NUMBERS,
    SORTABLE,
    check_level,
    levels_of_theory,
    search,
)
from aiida_hardcoat.cli import cmd_root
from aiida_hardcoat.data.catalogue import DEFAULT_LABEL, catalogue
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PredictionData
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.composition import canonical_system

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
    empty_catalogue(LABEL).add_nodes(nodes)
    ElasticData(**entry_values()).store()
    empty_catalogue("another").add_nodes(ElasticData(**entry_values()).store())
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


@pytest.mark.parametrize("find", [query.search, query.search_with_query_builder], ids=["index", "QueryBuilder"])
@settings(max_examples=60, deadline=None)
@given(filters)
def test_search_is_a_plain_filter(entries, find, chosen):
    ranges = dict(chosen.get("ranges", {}))
    # `x` among the ranges takes the place of the argument, and has its slack for typed digits too.
    x = ranges.pop("x", chosen.get("x", (None, None)))
    expected = plain(entries, **{**chosen, "ranges": ranges, "x": x})
    found = find(label=LABEL, **chosen)
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


def test_more_columns_are_as_stored_too(entries):
    rows = {row["pk"]: row for row in search(label=LABEL, columns=ALL_COLUMNS)}
    for entry in entries:
        assert rows[entry.pk]["ctime"] == entry.ctime.isoformat(timespec="microseconds")
        for name in FIELDS:
            value = rows[entry.pk][name]
            assert value == getattr(entry, name)
            assert type(value) is type(getattr(entry, name))


@pytest.mark.parametrize("name", SORTABLE)
def test_sort_by_any_column_in_both_directions(name):
    def values(rows):
        return [row[name] for row in rows if row[name] is not None]

    rising, falling = (search(label=LABEL, sort=sign + name, columns=[name]) for sign in ("", "-"))
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
        ({"sort": "elements"}, "cannot sort by 'elements'"),
        ({"columns": ["lable"]}, "did you mean 'label'"),
        ({"columns": ["tensor"]}, "no column 'tensor'"),
        ({"limit": -1}, "limit"),
        ({"level": "fedc"}, "did you mean 'ase:7net"),
        ({"fingerprint": "fedc"}, "did you mean '0123456789abcdef'"),
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


# --- levels of theory -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def levels(aiida_profile):
    """Three levels of theory, two of them of one name."""
    known = [("one", "00aa11bb22cc33dd"), ("one", "00aa99ff88ee77dd"), ("two", "fedcba9876543210")]
    nodes = [ElasticData(**entry_values(level=level, level_fingerprint=digits)).store() for level, digits in known]
    empty_catalogue("three levels").add_nodes(nodes)
    assert levels_of_theory("three levels") == known
    return dict(zip(known, [node.pk for node in nodes], strict=True))


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"level": "one"}, [0, 1]),
        ({"level": "two"}, [2]),
        ({"level": "fedc"}, [2]),
        ({"level": "00aa1"}, [0]),
        ({"level": "00aa99ff88ee77dd"}, [1]),
        ({"fingerprint": "00aa9"}, [1]),
        ({"fingerprint": "f"}, [2]),
        ({"level": "one", "fingerprint": "00aa9"}, [1]),
    ],
)
def test_a_level_is_named_or_starts_with_digits(levels, filters, found):
    for find in (query.search, query.search_with_query_builder):
        assert [row["pk"] for row in find(label="three levels", **filters)] == [
            list(levels.values())[place] for place in found
        ]


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"level": "00aa"}, "00aa11bb22cc33dd, 00aa99ff88ee77dd"),
        ({"fingerprint": "00"}, "00aa11bb22cc33dd, 00aa99ff88ee77dd"),
        ({"level": "two", "fingerprint": "00aa1"}, "no entry of level fingerprint"),
        ({"level": "fed"}, "did you mean 'two'|did you mean 'one'"),
        ({"level": "three"}, "no entry of level 'three'"),
    ],
)
def test_a_start_that_several_levels_share_or_none_has_is_refused(levels, filters, words):
    for find in (query.search, query.search_with_query_builder):
        with pytest.raises(InputError, match=words):
            find(label="three levels", **filters)


def test_no_level_is_wrong_in_an_empty_catalogue(levels):
    assert search(label="never made", level="three") == []
    check_level("three", "never made")
    with pytest.raises(InputError, match="three"):
        check_level("three", "three levels")


# --- the docs ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def documented(aiida_profile):
    """Entries and predictions under the label of the docs, instead of what is there, with a bulk modulus of 250 GPa."""
    from ase.build import bulk

    group = catalogue(DEFAULT_LABEL)
    others = list(group.nodes)
    group.clear()
    for number, c11 in enumerate((400.0, 450.0, 451.2, 500.0, 450.3, 584.0)):
        structure = orm.StructureData(ase=bulk("TiN", "rocksalt", a=4.2 + number / 10))
        changes = {"c11": c11, "c44": 200.0 - number, "ions": ("relaxed", "clamped")[number == 4]}
        digits = "87c3f978fb30a25a" if number != 5 else "24bece535485fe02"
        fractions = {"Al": number / 5, "Ti": 1 - number / 5} if 0 < number < 5 else {"Ti": 1.0}
        entry = linked(
            structure,
            ElasticData(label=f"entry {number}", **entry_values(fractions, level_fingerprint=digits, **changes)),
        )
        group.add_nodes(entry)
        for bulk_modulus in range(250, 250 + number % 3):
            linked(structure, PredictionData(**prediction_values(fractions, bulk=float(bulk_modulus))))
    yield
    group.clear()
    group.add_nodes(others)


BLOCKS = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs" / "howto" / "search.md").read_text(), re.DOTALL
)


def run_block(*words, variables=()):
    """The variables after running the block of the docs that holds these words."""
    (block,) = [block for block in BLOCKS if all(word in block for word in words)]
    found = dict(variables)
    exec(block, found)
    return found


@pytest.fixture(scope="module")
def recipe(documented):
    return run_block("QueryBuilder", "fields.system")


def test_the_first_recipe_gives_the_rows_of_the_search_beside_it(recipe, capsys):
    expected = run_block("rows = search(")["rows"]
    assert len(expected) > 1
    columns = ("pk", "label", "bulk_modulus", "shear_modulus")
    assert [tuple(row) for row in recipe["rows"]] == [tuple(row[name] for name in columns) for row in expected]


def test_the_recipe_with_dictionaries_gives_the_rows_of_its_search(recipe):
    found = run_block('"contains"', variables=recipe)["rows"]
    rows = search(elements=["Al", "Ti"], fingerprint="87c3f978fb30a25a", stable=True, ions="relaxed")
    expected = [(row["pk"], row["label"], row["bulk_modulus"], row["shear_modulus"]) for row in rows]
    assert len(expected) > 1
    assert sorted(map(tuple, found)) == sorted(expected)


def test_the_recipe_for_predictions_gives_what_is_learned(recipe):
    newest = run_block("PredictionData =", variables=recipe)["newest"]
    rows = [row for row in search(learned=True) if row["predicted_bulk_modulus"] is not None]
    expected = {row["pk"]: (row["label"], row["bulk_modulus"], row["predicted_bulk_modulus"]) for row in rows}
    assert len(expected) > 1
    assert newest == expected


def test_the_trap_of_the_docs_is_there_and_the_search_avoids_it(recipe):
    """Of moduli between two whole numbers AiiDA on SQLite loses one; a search with either bound does not."""
    found = {}
    for kind in (int, float):
        plain = orm.QueryBuilder().append(recipe["CatalogueGroup"], filters={"label": DEFAULT_LABEL}, tag="group")
        above = recipe["fields"].bulk_modulus > kind(250)
        found[kind] = set(plain.append(ElasticData, with_group="group", filters=above, project="id").all(flat=True))
    assert found[int] < found[float]
    for kind in (int, float):
        rows = search(ranges={"bulk_modulus": (kind(250), None)})
        assert {row["pk"] for row in rows if row["bulk_modulus"] != 250} == found[float]


# --- the command line -------------------------------------------------------------------------------------------


def invoke(*arguments):
    return CliRunner().invoke(cmd_root, [str(argument) for argument in arguments])


def test_columns_of_the_command_line_are_those_of_every_format(documented):
    names = ["label", "elements", "bulk_modulus", "predicted_bulk_modulus", "x"]
    arguments = ("search", "--columns", ",".join(names), "--sort", "-x", "--limit", 4)
    rows = search(sort="-x", limit=4, columns=names)
    expected = [{name: row[name] for name in names} for row in rows]
    assert json.loads(invoke(*arguments, "--format", "json").stdout) == expected
    table = csv.DictReader(io.StringIO(invoke(*arguments, "--format", "csv").stdout))
    assert [{**row, "x": float(row["x"])}["x"] for row in table] == [row["x"] for row in rows]
    assert table.fieldnames == names
    lines = invoke(*arguments).stdout.splitlines()
    assert lines[0].split() == names
    assert len(lines) == 5
    listed = json.loads(invoke("list", "--columns", "pk", "--format", "json").stdout)
    assert listed == [{"pk": row["pk"]} for row in search()]


def test_an_unknown_column_is_one_line_with_the_nearest():
    result = invoke("list", "--columns", "label,shear_modulsu")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "did you mean 'shear_modulus'" in line


def test_the_command_line_takes_the_start_of_a_fingerprint(documented):
    found = json.loads(invoke("search", "--level", "24bece", "--format", "json").stdout)
    assert [row["pk"] for row in found] == [row["pk"] for row in search(fingerprint="24bece535485fe02")]
    assert len(found) == 1


@pytest.mark.parametrize("command", ["list", "search"])
def test_an_empty_catalogue_says_what_to_run(documented, command, monkeypatch):
    monkeypatch.setattr(query.levels_of_theory, "__defaults__", ("never made",))
    monkeypatch.setitem(query.search.__kwdefaults__, "label", "never made")
    for form, expected in (("table", "no entries\n"), ("json", "[]\n"), ("csv", "")):
        result = invoke(command, "--format", form)
        assert (result.exit_code, result.stdout) == (0, expected)
        (line,) = result.stderr.splitlines()
        assert "hardcoat run Ti0.5Al0.5N -s B1" in line
        assert "hardcoat bundle import" in line
