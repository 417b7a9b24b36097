"""What the page is made of, from a finished run and from made-up entries."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest
from aiida.orm import CalcJobNode, QueryBuilder, StructureData
from click.testing import CliRunner
from conftest import empty_catalogue, entry_values, linked, prediction_values, rocksalt

from aiida_hardcoat.catalogue.site import build, data
from aiida_hardcoat.catalogue.site.build import MARKER, build_site
from aiida_hardcoat.catalogue.site.provenance import Ancestry, Described, Link, ancestry, graph
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PredictionData
from aiida_hardcoat.errors import InputError

LABEL = "page"
HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\u2028"


@pytest.fixture(scope="module")
def entries(aiida_profile):
    """Two end members and an alloy between them at one level, the alloy at another, and one with a hostile label."""
    made = []
    for changes in (
        {"fractions": {"Al": 1.0}, "energy_per_formula": -14.0},
        {"fractions": {"Ti": 1.0}, "energy_per_formula": -19.0},
        {"fractions": {"Al": 0.25, "Ti": 0.75}, "energy_per_formula": -17.5},
        {"fractions": {"Al": 0.25, "Ti": 0.75}, "level_fingerprint": "f" * 16, "c11": 480.0},
        {"fractions": {"Al": 0.5, "Ti": 0.5}, "c11": 100.0, "c12": 200.0, "c44": 50.0},
    ):
        structure = StructureData(ase=rocksalt())
        node = ElasticData(**entry_values(**changes))
        node.label = HOSTILE if changes["fractions"] == {"Al": 0.5, "Ti": 0.5} else "ordinary"
        linked(structure, node)
        made.append(node)
    prediction = PredictionData(**prediction_values({"Al": 0.25, "Ti": 0.75}))
    linked(structure_of(made[2]), prediction)
    empty_catalogue(LABEL).add_nodes([*made, prediction])
    return made


def structure_of(entry):
    return entry.creator.inputs.structure


def script(path):
    """The name of the function that a data file calls, and its arguments."""
    text = path.read_text(encoding="ascii")
    name, arguments = re.fullmatch(r"Hardcoat\.(\w+)\((.*)\);\n", text, re.DOTALL).groups()
    return name, json.loads(f"[{arguments}]")


def built(folder, **options):
    return build_site(folder, label=LABEL, progress=False, **options)


def index_of(folder):
    name, [index] = script(folder / "data" / "index.js")
    assert name == "receiveIndex"
    return index


def column(index, name):
    if name in index["texts"]:
        coded = index["texts"][name]
        return [coded["words"][code] for code in coded["codes"]]
    return index["numbers"][name]["values"]


def test_index_holds_what_is_stored(entries, tmp_path):
    result = built(tmp_path / "page")
    index = index_of(tmp_path / "page")
    assert result["entries"] == len(entries) == len(index["uuid"])
    assert result["levels"] == 2
    by_uuid = {entry.uuid: entry for entry in entries}
    for name in ("x", "bulk_modulus", "shear_modulus", "c11", "energy_per_formula"):
        assert column(index, name) == [getattr(by_uuid[uuid], name) for uuid in index["uuid"]], name
    assert column(index, "system") == [by_uuid[uuid].system for uuid in index["uuid"]]
    assert index["flags"]["stable"]["values"] == [int(by_uuid[uuid].stable) for uuid in index["uuid"]]


def test_levels_of_one_name_are_told_apart(entries, tmp_path):
    built(tmp_path / "page")
    index = index_of(tmp_path / "page")
    fingerprints = {entry.uuid: entry.level_fingerprint for entry in entries}
    names = dict(zip(index["uuid"], column(index, "level_name"), strict=True))
    assert len(set(names.values())) == 2
    assert all((names[a] == names[b]) == (fingerprints[a] == fingerprints[b]) for a in names for b in names)


def test_mixing_energy_needs_ends_of_its_own_level(entries, tmp_path):
    built(tmp_path / "page")
    index = index_of(tmp_path / "page")
    energies = dict(zip(index["uuid"], column(index, "mixing_energy"), strict=True))
    assert energies[entries[2].uuid] == pytest.approx(-17.5 - (0.25 * -14.0 + 0.75 * -19.0))
    assert energies[entries[3].uuid] is None
    assert energies[entries[0].uuid] is None


def test_ends_count_where_the_filters_leave_them_out(entries, tmp_path):
    built(tmp_path / "page", system="Ti-Al-N")
    index = index_of(tmp_path / "page")
    assert set(column(index, "system")) == {"Al-Ti-N"}
    energies = dict(zip(index["uuid"], column(index, "mixing_energy"), strict=True))
    assert energies[entries[2].uuid] == pytest.approx(0.25)


def test_record_has_every_field_and_the_prediction(entries, tmp_path):
    built(tmp_path / "page")
    entry = entries[2]
    name, [uuid, record] = script(tmp_path / "page" / "data" / "entries" / f"{entry.uuid}.js")
    assert (name, uuid) == ("receiveEntry", entry.uuid)
    assert record["fields"] == {key: value for key, value in entry.base.attributes.all.items() if key != "source"}
    [made] = record["predictions"]
    for modulus in ("bulk_modulus", "shear_modulus"):
        computed = getattr(entry, modulus)
        assert made["inside"][modulus] == (made[f"{modulus}_low"] <= computed <= made[f"{modulus}_high"])
    assert record["stresses"] is None  # made up: no strained cells


def test_structure_is_that_of_the_node(entries, tmp_path):
    built(tmp_path / "page")
    _, [_, record] = script(tmp_path / "page" / "data" / "entries" / f"{entries[0].uuid}.js")
    atoms = structure_of(entries[0]).get_ase()
    after = record["after"]
    assert [after["elements"][kind] for kind in after["atoms"]] == atoms.get_chemical_symbols()
    np.testing.assert_allclose(after["positions"], atoms.positions, atol=0.6 * 10**-data.DECIMALS)
    np.testing.assert_allclose(after["cell"], atoms.cell.array)
    assert record["before"] is None


def test_finished_run_has_both_structures_stresses_and_its_whole_provenance(alloy, tmp_path):
    group = empty_catalogue("page of a run")
    entry = alloy.outputs.entry
    group.add_nodes([entry, alloy.outputs.prediction])
    build_site(tmp_path / "page", label=group.label, progress=False)
    _, [_, record] = script(tmp_path / "page" / "data" / "entries" / f"{entry.uuid}.js")
    for name, node in (("before", alloy.outputs.structure), ("after", alloy.outputs.relaxed_structure)):
        np.testing.assert_allclose(record[name]["positions"], node.get_ase().positions, atol=1e-5)

    # The fitted tensor is the least-squares answer to exactly these strains and stresses.
    stresses = {name: np.array(values) for name, values in record["stresses"].items()}
    residuals = stresses["stresses"] - stresses["reference"] - stresses["strains"] @ np.array(entry.tensor_fitted)
    assert np.sqrt(np.mean(residuals**2)) == pytest.approx(entry.residual, abs=1e-4)
    assert stresses["computed"].sum() == entry.number_of_strains
    assert len(stresses["computed"]) == entry.number_of_strains + entry.number_of_equivalent_strains

    drawn = record["graph"]["nodes"]
    types = {kind for _, kind, *_ in drawn}
    assert {"ElasticData", "PredictionData", "AlloyWorkChain", "generate_sqs", "elastic_entry"} <= types
    above = {
        row
        for [row] in QueryBuilder()
        .append(CalcJobNode, project="uuid", tag="job")
        .append(ElasticData, with_ancestors="job", filters={"uuid": entry.uuid})
        .all()
        if row
    }
    assert above
    assert sum(number for *_, number in drawn) >= len(above)
    assert drawn[0][3] == entry.uuid


def test_graph_is_all_that_is_above_an_entry(alloy):
    entry = alloy.outputs.entry
    found = ancestry([entry.pk])
    drawn = graph(found, [entry.pk])
    assert sum(number for *_, number in drawn["nodes"]) == len(found.above([entry.pk]))
    places = range(len(drawn["nodes"]))
    assert all(source in places and target in places for source, target, *_ in drawn["links"])
    upward = {source: target for source, target, *_ in drawn["links"]}
    assert set(places) - set(upward) == {0}  # everything leads to something, but the entry


def test_nodes_in_one_position_are_drawn_as_one():
    """One structure, three calculations on it, and one that gathers two of them."""
    found = Ancestry()
    names = {1: "structure", 2: "job", 3: "job", 4: "job", 5: "gather", 6: "entry"}
    found.nodes = {pk: Described(f"uuid-{pk}", name, "", "data", None) for pk, name in names.items()}
    create, use = "create", "input_calc"
    found.links = {
        2: [Link(1, "structure", use)],
        3: [Link(1, "structure", use)],
        4: [Link(1, "structure", use)],
        5: [Link(2, "result_0", create), Link(3, "result_1", create), Link(4, "other", create)],
        6: [Link(5, "entry", create)],
    }
    drawn = graph(found, [6])
    numbers = {(kind, uuid): number for _, kind, _, uuid, _, number in drawn["nodes"]}
    assert numbers == {
        ("entry", "uuid-6"): 1,
        ("gather", "uuid-5"): 1,
        ("job", "uuid-2"): 2,
        ("job", "uuid-4"): 1,
        ("structure", "uuid-1"): 1,
    }


def test_structures_of_several_entries_lead_from_one_to_the_other(aiida_profile, tmp_path):
    group = empty_catalogue("page of relatives")
    structure = StructureData(ase=rocksalt())
    made = [linked(structure, ElasticData(**entry_values(ions=ions))) for ions in ("relaxed", "clamped")]
    group.add_nodes(made)
    build_site(tmp_path / "page", label=group.label, progress=False)
    assert index_of(tmp_path / "page")["shared"] == {structure.uuid: [0, 1]}


def test_equal_content_gives_equal_bytes(entries, tmp_path):
    for name in ("one", "two"):
        built(tmp_path / name)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(tmp_path / "two") for path in (tmp_path / "two").rglob("*") if path.is_file()
    )
    assert all((tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes() for file in files)


def test_no_text_of_a_node_can_become_markup(entries, tmp_path):
    built(tmp_path / "page", title=HOSTILE)
    for path in (tmp_path / "page" / "data").rglob("*.js"):
        assert "<" not in path.read_text(encoding="ascii"), path
    assert HOSTILE in index_of(tmp_path / "page")["label"]
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf8")
    assert "<img" not in page
    assert "&lt;img" in page


def test_page_asks_for_nothing_outside_its_folder(entries, tmp_path):
    built(tmp_path / "page")
    page = (tmp_path / "page" / "index.html").read_text(encoding="utf8")
    asked = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert asked
    for name in asked:
        assert name == "data:," or (tmp_path / "page" / name).is_file(), name


@pytest.mark.parametrize("kind", ["file", "other", "ours and more"])
def test_what_is_not_ours_is_never_replaced(entries, tmp_path, kind):
    folder = tmp_path / "page"
    kept = folder / "thesis.txt"
    if kind == "file":
        folder.write_text("mine")
    elif kind == "other":
        folder.mkdir()
        kept.write_text("mine")
    else:
        built(folder)
        kept.write_text("mine")
    with pytest.raises(InputError) as raised:
        built(folder)
    assert "\n" not in str(raised.value)
    assert (folder if kind == "file" else kept).read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


def test_our_own_page_is_replaced(entries, tmp_path):
    folder = tmp_path / "page"
    built(folder)
    built(folder, structure_type="B1", x=(1.0, 1.0))
    assert len(index_of(folder)["uuid"]) == len(list((folder / "data" / "entries").iterdir())) == 2
    assert json.loads((folder / MARKER).read_text())["entries"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


def test_failure_leaves_the_earlier_page(entries, tmp_path, monkeypatch):
    folder = tmp_path / "page"
    built(folder)
    before = index_of(folder)

    def fail(*_):
        raise OSError("disk")

    monkeypatch.setattr(build, "index", fail)
    with pytest.raises(OSError, match="disk"):
        built(folder)
    assert index_of(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


def test_empty_catalogue_says_what_to_run(aiida_profile, tmp_path):
    with pytest.raises(InputError, match="hardcoat demo"):
        build_site(tmp_path / "page", label="nothing here", progress=False)
    assert not (tmp_path / "page").exists()


def test_filters_that_match_nothing_say_so(entries, tmp_path):
    with pytest.raises(InputError, match="no entry matches"):
        built(tmp_path / "page", ranges={"bulk_modulus": (1e6, None)})


def test_uuid_that_is_a_path_names_no_file():
    with pytest.raises(InputError, match="UUID"):
        build.checked("../../etc/passwd")


def test_command(entries, tmp_path, monkeypatch):
    from aiida_hardcoat.cli.site import cmd_site

    monkeypatch.setattr("aiida_hardcoat.cli.profile.use_profile", lambda: None)
    made = []

    def noted(folder, **options):
        made.append(options)
        return build_site(folder, **{**options, "label": LABEL, "progress": False})

    monkeypatch.setattr("aiida_hardcoat.catalogue.site.build.build_site", noted)
    result = CliRunner().invoke(
        cmd_site, [str(tmp_path / "page"), "--system", "Ti-Al-N", "-x", "0.2:0.3", "--sort", "-c11"]
    )
    assert result.exit_code == 0, result.output
    assert "2 entries at 2 levels" in result.output
    assert index_of(tmp_path / "page")["sort"] == "-c11"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("mine")
    result = CliRunner().invoke(cmd_site, [str(tmp_path / "other")])
    assert result.exit_code == 2
    assert result.output.count("\n") == 1


def test_command_module_needs_no_aiida():
    code = "import sys, aiida_hardcoat.cli.site; sys.exit('aiida' in sys.modules or 'plotly' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
