"""Bundles: made, verified, brought into another profile, and the same there."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from aiida import orm
from bundles import LEVEL, change_attributes, edited, forge, sha256, stored_entry, stored_prediction
from conftest import TESTS, empty_catalogue, linked, rocksalt
from pyarrow import parquet

from aiida_hardcoat.catalogue.bundle import layout, verify
from aiida_hardcoat.catalogue.bundle.create import create_bundle
from aiida_hardcoat.catalogue.bundle.fingerprint import canonical, fingerprint, profile_lines
from aiida_hardcoat.catalogue.bundle.importing import import_bundle
from aiida_hardcoat.catalogue.bundle.manifest import read_manifest
from aiida_hardcoat.catalogue.bundle.verify import verify_bundle
from aiida_hardcoat.catalogue.predictions import predictions_of_entry
from aiida_hardcoat.catalogue.query import search
from aiida_hardcoat.data.catalogue import catalogue
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.errors import InputError

LABEL = "bundled"
ENTRIES = [
    {"fractions": {"Al": 0.5, "Ti": 0.5}},
    {"fractions": {"Al": 0.5, "Ti": 0.5}, "ions": "clamped", "c11": 510.0},
    {"fractions": {"Ti": 1.0}, "c11": 584.0, "c12": 136.0},
    {"fractions": {"Al": 1.0}, "c11": 100.0, "c12": 200.0, "c44": 50.0, "structure_type": "B3"},
]


def learned_of(entry):
    return orm.load_node(predictions_of_entry(entry)[-1]["pk"])


@pytest.fixture(scope="module")
def members(lone_alloy):
    """Made-up entries, all but the last with predictions, and one that was computed."""
    group = empty_catalogue(LABEL)
    entries = [stored_entry(**changes) for changes in ENTRIES]
    old, new = ({"model_fingerprint": name * 16, "model_sha256": name * 64} for name in "ab")
    stored_prediction(entries[0], bulk=240.0, **old)  # outdated: of the same model as the next
    newest = [stored_prediction(entry, **model) for entry in entries[:3] for model in (old, new)]
    nodes = [*entries, *newest, learned_of(lone_alloy.outputs.entry), lone_alloy.outputs.entry]
    group.add_nodes(nodes)
    return nodes


@pytest.fixture(scope="module")
def bundle(members, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "first"
    create_bundle(folder, label=LABEL, title="A test", authors=["Doe, Jane", "The group"])
    return folder


@pytest.fixture(scope="module")
def abroad(bundle, tmp_path_factory):
    """What happened to the bundle in a process of its own, with a profile of its own."""
    folder = tmp_path_factory.mktemp("abroad")
    environment = {**os.environ, "AIIDA_PATH": str(folder), "PYTHONPATH": os.environ["PYTHONPATH"]}
    done = subprocess.run(
        [sys.executable, str(TESTS / "bundle_abroad.py"), str(bundle), str(folder)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]) | {"folder": folder}


@pytest.fixture
def _quick(monkeypatch):
    """Leave out the process that makes OPTIMADE and chemiscope files again."""
    monkeypatch.setattr(verify, "view_findings", lambda *_: ())


# --- what a bundle holds ------------------------------------------------------------------------------------------


def test_all_files_are_there_and_sum_up(bundle):
    assert sorted(item.name for item in bundle.iterdir()) == sorted(layout.FILES)
    subprocess.run(["sha256sum", "--check", "--strict", layout.CHECKSUMS], cwd=bundle, check=True, capture_output=True)
    assert sha256(bundle / layout.NODES) == read_manifest(bundle)["fingerprint"]


def test_the_manifest_counts_what_was_chosen(bundle, members):
    manifest = read_manifest(bundle)
    entries = [node for node in members if isinstance(node, ElasticData)]
    assert (manifest["entries"], manifest["predictions"]) == (len(entries), len(members) - len(entries))
    assert sum(row["entries"] for row in manifest["counts"]) == len(entries)
    assert sum(row["with_prediction"] for row in manifest["counts"]) == 4
    assert {level["level_fingerprint"] for level in manifest["levels"]} == {node.level_fingerprint for node in entries}
    assert LEVEL in [level["details"] for level in manifest["levels"]]


def test_tables_hold_every_digit(bundle, members):
    entries = {node.uuid: node for node in members if isinstance(node, ElasticData)}
    with (bundle / layout.TABLE_CSV).open(newline="") as stream:
        texts = list(csv.DictReader(stream))
    rows = parquet.read_table(bundle / layout.TABLE_PARQUET).to_pylist()
    assert [row["uuid"] for row in rows] == [text["uuid"] for text in texts]
    assert [row["label"] for row in rows] == sorted(row["label"] for row in rows)
    assert {row["uuid"] for row in rows} == set(entries)
    for row, text in zip(rows, texts, strict=True):
        node = entries[row["uuid"]]
        for name in ("c11", "bulk_modulus", "hardness_chen_2011", "sqs_seed", "stable", "ions", "energy_per_formula"):
            assert row[name] == getattr(node, name)
            assert text[name] == ("" if row[name] is None else str(row[name]))
        assert {
            name.removeprefix("fraction_"): value for name, value in row.items() if "fraction_" in name and value
        } == (node.fractions)


def test_the_newest_prediction_is_in_the_table(bundle, members):
    with (bundle / layout.TABLE_CSV).open(newline="") as stream:
        row = next(row for row in csv.DictReader(stream) if row["uuid"] == members[0].uuid)
    newest = members[len(ENTRIES) + 1]
    assert (row["learned_uuid"], row["learned_bulk_modulus"]) == (newest.uuid, str(newest.bulk_modulus))


def test_the_citation_names_authors_study_and_fingerprint(bundle):
    citation = yaml.safe_load((bundle / layout.CITATION).read_text())
    assert citation["authors"] == [{"family-names": "Doe", "given-names": "Jane"}, {"name": "The group"}]
    assert "10.1038/s41524-022-00698-7" in [reference.get("doi") for reference in citation["references"]]
    assert citation["identifiers"][0]["value"] == f"sha256:{read_manifest(bundle)['fingerprint']}"
    assert "creativecommons.org/licenses/by/4.0" in (bundle / layout.LICENCE).read_text()


# --- the fingerprint ------------------------------------------------------------------------------------------------


def test_two_bundles_of_one_catalogue_differ_in_no_content(bundle, tmp_path):
    create_bundle(tmp_path / "again", label=LABEL, title="A test", authors=["Doe, Jane", "The group"], sort="-c11")
    for name in layout.CONTENT:
        if name != layout.ARCHIVE:
            assert (tmp_path / "again" / name).read_bytes() == (bundle / name).read_bytes(), name


def test_the_profile_gives_the_fingerprint_without_an_export(bundle, members):
    assert fingerprint(profile_lines(members)) == read_manifest(bundle)["fingerprint"]


def test_a_part_has_another_fingerprint(bundle, tmp_path):
    part = create_bundle(tmp_path / "part", label=LABEL, ions="clamped")
    assert part["entries"] == 1
    assert part["fingerprint"] != read_manifest(bundle)["fingerprint"]


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ({"a": 500, "b": [0.0]}, {"b": [-0.0], "a": 500.0}, True),
        (1e22, 10**22, True),
        (0.1, 0.1 + 1e-16, False),
        (True, 1, False),
        ("1", 1, False),
        (None, 0, False),
    ],
)
def test_numbers_are_equal_however_a_storage_writes_them(one, other, equal):
    assert (canonical(one) == canonical(other)) is equal


# --- what verifies ----------------------------------------------------------------------------------------------------


def test_a_new_bundle_verifies_and_every_tensor_with_cells_is_fitted_again(bundle):
    report = verify_bundle(bundle, models=True)
    assert report.ok, report.findings
    manifest = read_manifest(bundle)
    assert report.checked["nodes"] == manifest["nodes"]
    assert report.checked["hashes"] > manifest["nodes"] / 3
    assert (report.checked["refitted"], report.checked["entries_without_cells"]) == (1, len(ENTRIES))
    assert report.checked["predicted_again"] == 1


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("form", ["zip", "zip without folder", "tar.gz", "tar.gz without folder"])
def test_packed_bundles_are_read(bundle, form, tmp_path):
    if form == "tar.gz without folder":
        path = tmp_path / "packed.tar.gz"
        with tarfile.open(path, "w:gz") as container:
            container.add(bundle, arcname=".")
    else:
        inner = (str(bundle),) if "without" in form else (str(bundle.parent), bundle.name)
        path = shutil.make_archive(str(tmp_path / "packed"), "zip" if "zip" in form else "gztar", *inner)
    assert verify_bundle(Path(path), refit=False).ok


@pytest.mark.usefixtures("_quick")
def test_a_fingerprint_from_elsewhere_is_compared(bundle):
    known = read_manifest(bundle)["fingerprint"]
    assert verify_bundle(bundle, refit=False, expect=known.upper()).ok
    [finding] = verify_bundle(bundle, refit=False, expect="0" * 64).findings
    assert finding.field == "fingerprint"


# --- another profile --------------------------------------------------------------------------------------------------


def test_a_bundle_arrives_whole(bundle, abroad):
    manifest = read_manifest(bundle)
    assert abroad["first"]["new_nodes"] == abroad["first"]["nodes"] == manifest["nodes"]
    assert abroad["first"]["new_entries"] == manifest["entries"]
    assert abroad["first"]["new_members"] == manifest["entries"] + manifest["predictions"]
    assert abroad["groups"] == [["catalogue", abroad["first"]["new_members"]]]


def test_a_second_import_adds_nothing(abroad):
    assert (abroad["second"]["new_nodes"], abroad["second"]["new_members"]) == (0, 0)
    assert abroad["nodes"] == abroad["first"]["nodes"]


def test_search_and_predictions_are_the_same_abroad(abroad):
    def without_pk(rows):
        return sorted(({k: v for k, v in row.items() if k != "pk"} for row in rows), key=lambda row: row["uuid"])

    home = json.loads(json.dumps(search(label=LABEL, learned=True)))
    assert without_pk(abroad["rows"]) == without_pk(home)


@pytest.mark.usefixtures("_quick")
def test_a_bundle_made_abroad_is_equal(bundle, abroad):
    again = abroad["folder"] / "again"
    for name in layout.CONTENT:
        if name != layout.ARCHIVE:
            assert (again / name).read_bytes() == (bundle / name).read_bytes(), name
    assert verify_bundle(again).ok


def test_an_import_that_is_cut_off_leaves_nothing(abroad):
    assert abroad["after_interrupt"] == 0


def test_imported_nodes_answer_calculations_only_when_asked_to(abroad):
    assert abroad["hashed"] == [0, abroad["nodes"]]
    assert abroad["wrong_hashes"] == 0


def test_the_profile_that_made_a_bundle_imports_nothing(bundle):
    before = orm.QueryBuilder().append(orm.Node).count()
    done = import_bundle(bundle, label=LABEL)
    assert (done.new_nodes, done.new_members) == (0, 0)
    assert orm.QueryBuilder().append(orm.Node).count() == before


def test_another_group_takes_the_entries_of_a_bundle(bundle):
    done = import_bundle(bundle, label="taken over")
    manifest = read_manifest(bundle)
    assert (done.new_nodes, done.new_entries) == (0, manifest["entries"])
    assert {row["uuid"] for row in search(label="taken over")} == {row["uuid"] for row in search(label=LABEL)}


def test_a_node_that_the_profile_holds_otherwise_is_named(bundle, members, tmp_path):
    """AiiDA would keep its own node without a word."""
    victim = members[0].uuid
    path = edited(
        bundle,
        tmp_path / "other",
        lambda connection: change_attributes(connection, victim, lambda values: values.update(seconds=1.0)),
    )
    forge(path)
    with pytest.raises(InputError, match=victim):
        import_bundle(path, label="never made")
    assert catalogue("never made").count() == 0


# --- what is refused --------------------------------------------------------------------------------------------------


def refused(words, folder, **options):
    before = {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=words) as raised:
        create_bundle(folder, **{"label": LABEL, **options})
    assert "\n" not in str(raised.value)
    assert {path: path.read_bytes() for path in folder.parent.rglob("*") if path.is_file()} == before


def test_folders_that_are_not_ours_stay(bundle, tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").write_text("years of work")
    refused("no bundle", tmp_path / "theirs", overwrite=True)
    (tmp_path / "file").write_text("x")
    refused("no folder", tmp_path / "file", overwrite=True)
    shutil.copytree(bundle, tmp_path / "ours")
    refused("--overwrite", tmp_path / "ours")
    (tmp_path / "ours" / "notes.txt").write_text("mine")
    refused("notes.txt", tmp_path / "ours", overwrite=True)


@pytest.mark.usefixtures("_quick")
def test_a_bundle_is_replaced_when_asked_to_and_an_empty_folder_is_filled(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "ours")
    create_bundle(tmp_path / "ours", label=LABEL, ions="clamped", overwrite=True)
    assert read_manifest(tmp_path / "ours")["entries"] == 1
    (tmp_path / "empty").mkdir()
    create_bundle(tmp_path / "empty", label=LABEL, ions="clamped")
    assert verify_bundle(tmp_path / "empty", refit=False).ok
    assert sorted(item.name for item in tmp_path.iterdir()) == ["empty", "ours"]


def test_selections_and_licences_that_cannot_be(members, tmp_path):
    refused("hardcoat run", tmp_path / "new", label="holds nothing")
    refused("no entry matches", tmp_path / "new", system="Zr-N")
    refused("CC-BY-4.0", tmp_path / "new", licence="CC-BY-4")
    assert not any(tmp_path.iterdir())


def test_a_potcar_is_not_shared(tmp_path):
    group = empty_catalogue("licensed")
    potcar = orm.SinglefileData(io.BytesIO(b"  PAW_PBE Ti\n TITEL = PAW_PBE Ti\n END of PSCTR-controll parameters\n"))
    values = stored_entry().base.attributes.all
    group.add_nodes(linked(orm.StructureData(ase=rocksalt()), ElasticData(**values), {"potential": potcar.store()}))
    refused("POTCAR", tmp_path / "new", label="licensed")
    assert not any(tmp_path.iterdir())


def test_a_type_of_node_that_no_import_takes_is_not_bundled(tmp_path):
    group = empty_catalogue("strange")
    values = stored_entry().base.attributes.all
    strange = orm.CifData(ase=rocksalt())
    group.add_nodes(linked(orm.StructureData(ase=rocksalt()), ElasticData(**values), {"cif": strange.store()}))
    refused("CifData", tmp_path / "new", label="strange")
