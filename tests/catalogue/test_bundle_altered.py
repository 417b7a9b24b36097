"""Altered and hostile bundles: what was changed is found and named, what is dangerous is refused.

Alterations are made as by one who knows how bundles are checked: hashes of nodes, fingerprint, tables, manifest and
checksums are all made again from the altered archive, so that only the numbers themselves can tell.
"""

import gzip
import io
import json
import re
import shutil
import stat
import tarfile
import zipfile
from uuid import uuid4

import numpy as np
import pytest
from aiida import orm
from bundles import change_attributes, edited, forge, rewrite, stored_entry, stored_prediction
from conftest import empty_catalogue, entry_values
from pyarrow import parquet

from aiida_hardcoat.calculations.elastic import tensor_fields
from aiida_hardcoat.catalogue.bundle import layout
from aiida_hardcoat.catalogue.bundle.checksums import write_checksums
from aiida_hardcoat.catalogue.bundle.containers import MOST_MEMBERS, check_amounts
from aiida_hardcoat.catalogue.bundle.create import create_bundle
from aiida_hardcoat.catalogue.bundle.findings import RefusedBundleError
from aiida_hardcoat.catalogue.bundle.importing import import_bundle
from aiida_hardcoat.catalogue.bundle.manifest import read_manifest
from aiida_hardcoat.catalogue.bundle.verify import verify_bundle, verify_folder
from aiida_hardcoat.data.catalogue import catalogue
from aiida_hardcoat.data.prediction import PROPERTIES
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.properties import elastic_properties

LABEL = "altered"
DERIVED = tensor_fields(elastic_properties(entry_values()["tensor"], "cubic", density=1.0, atoms_per_volume=0.1))
ALTERED_FIELDS = sorted(name for name, value in DERIVED.items() if name != "tensor" and value is not None)
ELEMENTS = [(name, i, j) for name in ("tensor", "tensor_fitted") for i in range(6) for j in range(6)]
CLAIMS = {
    "level": "ase:7net-0",
    "level_fingerprint": "0" * 16,
    "crystal_class": "hexagonal",
    "structure_type": "B3",
    "system": "Al-Zr-N",
    "elements": ["Al", "N", "Zr"],
    "formula": "Al0.4Ti0.6N",
    "x": 0.75,
    "density": 4501.0,
    "number_of_atoms": 97,
    "schema_version": 99,
}
NAMED_BY = {"density": ["sound_velocity_mean"], "number_of_atoms": ["debye_temperature"]}
"""Where only what follows can tell, as long as the strained cells are not there."""


def off_by_a_little(value):
    return not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else value * 1.0001 + 1e-5


@pytest.fixture(scope="module")
def entry(aiida_profile):
    node = stored_entry()
    empty_catalogue(LABEL).add_nodes([node, stored_prediction(node)])
    return node


@pytest.fixture(scope="module")
def bundle(entry, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "sound"
    create_bundle(folder, label=LABEL)
    return folder


@pytest.fixture(scope="module")
def computed(lone_alloy, tmp_path_factory):
    """A bundle of an entry that was computed, whose strained cells are there."""
    group, folder = catalogue("computed"), tmp_path_factory.mktemp("bundles") / "computed"
    group.add_nodes(lone_alloy.outputs.entry)
    create_bundle(folder, label=group.label)
    return folder


@pytest.fixture
def copy(bundle, tmp_path):
    return shutil.copytree(bundle, tmp_path / "copy")


# --- entries ----------------------------------------------------------------------------------------------------------


def test_every_altered_field_and_element_is_found_and_named(bundle, entry, tmp_path):
    """A bundle of many copies of one entry, of each of which one attribute was altered; the first is sound."""
    changes = {str(uuid4()): change for change in [*ALTERED_FIELDS, *ELEMENTS, *CLAIMS]}

    def alter(connection):
        for uuid, change in changes.items():
            copy_entry(connection, entry.uuid, uuid)
            change_attributes(connection, uuid, lambda values, change=change: apply(values, change))

    def apply(values, change):
        if isinstance(change, tuple):
            name, i, j = change
            values[name][i][j] += 0.01
        else:
            values[change] = CLAIMS[change] if change in CLAIMS else off_by_a_little(values[change])

    path = edited(bundle, tmp_path / "altered", alter)
    forge(path)
    assert read_manifest(path)["entries"] == len(changes) + 1
    findings = {uuid: [] for uuid in changes}
    for finding in verify_folder(path).findings:
        findings[finding.uuid].append(finding)
    for uuid, change in changes.items():
        words = " ".join(map(str, findings[uuid]))
        # An element differs from its mirror image, or with it from what it is averaged from.
        names = NAMED_BY.get(change, [change] if isinstance(change, str) else [change[0], "tensor", "projected_away"])
        assert any(name in words for name in names), (change, words)
    assert len(ALTERED_FIELDS) > 30
    print(f"{len(changes)} altered attributes, {sum(map(bool, findings.values()))} found and named")


def copy_entry(connection, source, uuid):
    """Another entry of the same content, made from the same structure, within an archive."""
    columns = [row[1] for row in connection.execute("PRAGMA table_info(db_dbnode)") if row[1] not in ("id", "uuid")]
    copied = f"INSERT INTO db_dbnode (uuid, {', '.join(columns)}) SELECT ?, {', '.join(columns)} FROM db_dbnode "
    (entry,) = connection.execute("SELECT id FROM db_dbnode WHERE uuid = ?", (source,)).fetchone()
    (maker,) = connection.execute("SELECT input_id FROM db_dblink WHERE output_id = ?", (entry,)).fetchone()
    new_entry = connection.execute(f"{copied} WHERE id = ?", (uuid, entry)).lastrowid
    new_maker = connection.execute(f"{copied} WHERE id = ?", (str(uuid4()), maker)).lastrowid
    link = "INSERT INTO db_dblink (input_id, output_id, label, type) SELECT"
    connection.execute(f"{link} input_id, ?, label, type FROM db_dblink WHERE output_id = ?", (new_maker, maker))
    connection.execute(f"{link} ?, ?, label, type FROM db_dblink WHERE output_id = ?", (new_maker, new_entry, entry))
    connection.execute("INSERT INTO db_dbgroup_dbnodes (dbgroup_id, dbnode_id) VALUES (1, ?)", (new_entry,))


def test_findings_tell_stored_and_derived_values(bundle, entry, tmp_path):
    path = edited(
        bundle,
        tmp_path / "altered",
        lambda connection: change_attributes(connection, entry.uuid, lambda values: values.update(bulk_modulus=300.0)),
    )
    forge(path)
    findings = {finding.field: finding for finding in verify_folder(path).findings}
    assert set(findings) == {"bulk_modulus"}
    finding = findings["bulk_modulus"]
    assert (finding.where, finding.uuid, finding.stored) == (entry.label, entry.uuid, 300.0)
    assert finding.derived == pytest.approx(entry.bulk_modulus, rel=1e-12)
    assert entry.uuid in str(finding)
    assert "300.0" in str(finding)


def test_a_tensor_that_was_altered_with_all_that_follows_from_it_is_fitted_again(lone_alloy, computed, tmp_path):
    entry = lone_alloy.outputs.entry

    def alter(values):
        fitted = 1.001 * np.array(values["tensor_fitted"])
        per_volume = values["number_of_atoms"] / (values["volume_per_formula"] * values["number_of_formula_units"])
        properties = elastic_properties(fitted, "cubic", density=values["density"], atoms_per_volume=per_volume)
        values.update(tensor_fitted=fitted.tolist(), **tensor_fields(properties))

    path = edited(
        computed,
        tmp_path / "altered",
        lambda connection: change_attributes(connection, entry.uuid, alter),
    )
    forge(path)
    assert verify_folder(path, refit=False).ok
    fields = {finding.field for finding in verify_folder(path).findings if finding.uuid == entry.uuid}
    assert {"tensor[0][0]", "tensor_fitted[0][0]", "bulk_modulus", "hardness_chen_2011"} <= fields


@pytest.mark.parametrize("name", ["r_squared", "energy_per_formula", "lattice_a", "standard_errors", "evaluations"])
def test_what_only_the_strained_cells_can_tell_is_fitted_again(lone_alloy, computed, tmp_path, name):
    entry = lone_alloy.outputs.entry

    def alter(values):
        if name == "standard_errors":
            values[name][0][0] *= 1.01
        else:
            values[name] = off_by_a_little(values[name])

    path = edited(
        computed,
        tmp_path / "altered",
        lambda connection: change_attributes(connection, entry.uuid, alter),
    )
    forge(path)
    assert [finding.field.split("[")[0] for finding in verify_folder(path).findings] == [name]


def test_altered_inputs_of_a_fit_are_found_in_what_follows(lone_alloy, computed, tmp_path):
    """Not the entry but what it was made from: the energy of the unstrained cell."""
    entry = lone_alloy.outputs.entry
    maker = entry.base.links.get_incoming().first().node
    sqs = maker.inputs.sqs.uuid
    path = edited(
        computed,
        tmp_path / "altered",
        lambda connection: change_attributes(connection, sqs, lambda values: values.update(objective=-1.0)),
    )
    forge(path)
    assert [finding.field for finding in verify_folder(path).findings] == ["sqs_objective"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        *(({name: 1.0}, name) for name in PROPERTIES),
        ({"bulk_modulus_low": 999.0}, "bulk_modulus_low"),
        ({"shear_modulus_spread": -1.0}, "shear_modulus_spread"),
        ({"far": True}, "far"),
        ({"model_sha256": "b"}, "model_sha256"),
        ({"x": 0.25}, "label"),
    ],
)
def test_altered_predictions_are_found(bundle, tmp_path, changes, words):
    [uuid] = (
        orm.QueryBuilder()
        .append(orm.Group, filters={"label": LABEL}, tag="group")
        .append(
            orm.Node, with_group="group", filters={"node_type": {"like": "data.hardcoat.prediction%"}}, project="uuid"
        )
        .all(flat=True)
    )
    path = edited(
        bundle,
        tmp_path / "altered",
        lambda connection: change_attributes(connection, uuid, lambda values: values.update(changes)),
    )
    forge(path)
    findings = [finding for finding in verify_folder(path).findings if finding.uuid == uuid]
    assert findings
    assert words in " ".join(map(str, findings)) or "does not follow" in str(findings[0])


def test_a_prediction_is_predicted_again(lone_alloy, computed, tmp_path):
    """Interval and distance follow from nothing but the model."""
    bundled = json.loads((computed / layout.MANIFEST).read_text())
    assert bundled["predictions"] == 1
    uuids = (computed / layout.NODES).read_text().split()
    [prediction] = [
        node
        for node in orm.QueryBuilder().append(orm.Node, filters={"uuid": {"in": uuids}}).all(flat=True)
        if "prediction" in node.node_type
    ]
    path = edited(
        computed,
        tmp_path / "altered",
        lambda connection: change_attributes(
            connection, prediction.uuid, lambda values: values.update(bulk_modulus_low=values["bulk_modulus_low"] - 1)
        ),
    )
    forge(path)
    assert verify_folder(path).ok
    assert [finding.field for finding in verify_folder(path, models=True).findings] == ["bulk_modulus_low"]


def test_an_alteration_by_one_who_knows_nothing_is_named_by_hash_and_content(bundle, entry, tmp_path):
    """Of any node, not of entries alone."""
    structure = entry.base.links.get_incoming().first().node.inputs.structure.uuid
    path = edited(
        bundle,
        tmp_path / "altered",
        lambda connection: change_attributes(connection, structure, lambda values: values["cell"][0].reverse()),
    )
    write_checksums(path)
    problems = [str(finding) for finding in verify_folder(path).findings if finding.uuid == structure]
    assert any("hash" in problem for problem in problems)
    assert any(layout.NODES in problem for problem in problems)
    assert "fingerprint" in {finding.field for finding in verify_folder(path).findings}


@pytest.mark.parametrize("change", [{"c33": "many"}, {"c33": None}, {"fractions": []}, {"stable": "perhaps"}])
def test_fields_of_another_type_are_found(bundle, entry, tmp_path, change):
    path = edited(
        bundle,
        tmp_path / "altered",
        lambda connection: change_attributes(connection, entry.uuid, lambda values: values.update(change)),
    )
    write_checksums(path)
    [name] = change
    assert any(name in str(finding) for finding in verify_folder(path).findings if finding.uuid == entry.uuid)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE db_dbnode SET label = 'B1/Ti-N/1.000000' WHERE node_type LIKE '%elastic%'",
        "UPDATE db_dblink SET label = 'cell' WHERE type = 'input_calc'",
        "DELETE FROM db_dblink WHERE type = 'create'",
        "DELETE FROM db_dbgroup_dbnodes WHERE id = (SELECT max(id) FROM db_dbgroup_dbnodes)",
        "UPDATE db_dbnode SET ctime = '2020-01-01 00:00:00.000000' WHERE node_type LIKE '%prediction%'",
    ],
)
def test_labels_links_members_and_times_are_part_of_the_fingerprint(bundle, tmp_path, statement):
    path = edited(bundle, tmp_path / "altered", lambda connection: connection.execute(statement))
    write_checksums(path)
    assert not verify_folder(path).ok


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", layout.FILES)
def test_an_altered_byte_in_any_file_is_found(copy, name):
    content = bytearray((copy / name).read_bytes())
    if name == layout.MANIFEST:
        content += b" "  # which stays JSON
    else:
        content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    report = verify_folder(copy)
    assert not report.ok
    assert name in [finding.where for finding in report.findings] or name == layout.CHECKSUMS


@pytest.mark.parametrize("name", layout.CONTENT)
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    if name == layout.MANIFEST:
        with pytest.raises(InputError, match="no bundle"):
            verify_folder(copy)
    else:
        assert name in [finding.where for finding in verify_folder(copy).findings]


def test_files_of_no_bundle_are_named(copy):
    (copy / "extra.txt").write_text("x")
    (copy / "folder").mkdir()
    assert [finding.where for finding in verify_folder(copy).findings] == ["extra.txt", "folder"]


@pytest.mark.parametrize(
    ("name", "old", "new", "words"),
    [
        (layout.TABLE_CSV, "160.0", "160.1", "c44"),
        (layout.README, "Entries of different", "Entries of all", "manifest"),
        (layout.CITATION, "10.1038", "10.1039", "manifest"),
        (layout.LICENCE, "by/4.0", "by-nc/4.0", "manifest"),
        (layout.MANIFEST, '"entries": 1,', '"entries": 2,', "entries"),
        (layout.MANIFEST, '"licence": "CC-BY-4.0"', '"licence": "mine"', "licence"),
        (layout.NODES, "  catalogue", "  catalog", "catalogue"),
    ],
)
def test_an_altered_file_with_a_new_checksum_is_found(copy, name, old, new, words):
    text = (copy / name).read_text()
    assert old in text
    (copy / name).write_text(text.replace(old, new))
    write_checksums(copy)
    assert words in " ".join(map(str, verify_folder(copy).findings))


def test_altered_optimade_chemiscope_and_parquet_files_with_new_checksums_are_found(copy, entry):
    table = parquet.read_table(copy / layout.TABLE_PARQUET)
    rows = table.to_pylist()
    rows[0]["c11"] += 1.0
    sound = (copy / layout.TABLE_PARQUET).read_bytes()
    parquet.write_table(type(table).from_pylist(rows, schema=table.schema), copy / layout.TABLE_PARQUET)
    write_checksums(copy)
    [finding] = verify_folder(copy).findings
    assert (finding.where, finding.uuid, finding.field) == (layout.TABLE_PARQUET, entry.uuid, "c11")

    (copy / layout.TABLE_PARQUET).write_bytes(sound)
    lines = (copy / layout.OPTIMADE_DATA).read_text().splitlines()
    structure = json.loads(lines[-1])
    structure["attributes"]["_hardcoat_bulk_modulus"] += 1.0
    lines[-1] = json.dumps(structure)
    (copy / layout.OPTIMADE_DATA).write_text("\n".join(lines) + "\n")
    scope = gzip.decompress((copy / layout.CHEMISCOPE).read_bytes())
    (copy / layout.CHEMISCOPE).write_bytes(gzip.compress(scope.replace(b"Ti", b"Zr")))
    write_checksums(copy)
    found = {(finding.where, finding.field) for finding in verify_bundle(copy).findings}
    assert found == {(layout.OPTIMADE_DATA, "_hardcoat_bulk_modulus"), (layout.CHEMISCOPE, None)}


# --- imports of altered bundles ---------------------------------------------------------------------------------------


def count_nodes():
    return orm.QueryBuilder().append(orm.Node).count(), orm.QueryBuilder().append(orm.Group).count()


def test_an_altered_bundle_is_imported_only_by_force(copy):
    (copy / layout.README).write_text("I know better")
    before = count_nodes()
    with pytest.raises(InputError, match=r"README.md.*--force"):
        import_bundle(copy, label="forced")
    assert count_nodes() == before
    done = import_bundle(copy, label="forced", force=True)
    assert (done.new_entries, [finding.where for finding in done.overlooked]) == (1, [layout.README, layout.README])


# --- hostile containers -----------------------------------------------------------------------------------------------


def refused(path, words):
    """Neither verified nor imported, with or without force, and nothing is left."""
    before = count_nodes()
    for call in (verify_bundle, import_bundle, lambda path: import_bundle(path, force=True)):
        with pytest.raises(RefusedBundleError, match=words) as raised:
            call(path)
        assert "\n" not in str(raised.value)
    assert count_nodes() == before


def member(name, mode=0o100644):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize(
    ("info", "content", "words"),
    [
        (member("../evil"), b"x", "outside"),
        (member("bundle/../../evil"), b"x", "outside"),
        (member("/etc/evil"), b"x", "outside"),
        (member("C:/evil"), b"x", "outside"),
        (member("..\\evil"), b"x", "outside"),
        (member("bundle/evil"), b"x", "no file of a bundle"),
        (member("bundle/deep/README.md"), b"x", "flat"),
        (member("README.md"), b"x", "flat"),
        (member("bundle/README.md"), b"x", "twice"),
        (member("bundle/link", stat.S_IFLNK | 0o777), b"/etc/passwd", "link"),
        (member("bundle/pipe", stat.S_IFIFO | 0o777), b"", "link or no plain file"),
        (member("bundle/zeros"), bytes(3_000_000), "times as many"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_zips_are_refused(bundle, tmp_path, info, content, words):
    path = tmp_path / "hostile.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as container:
        for item in bundle.iterdir():
            container.write(item, f"bundle/{item.name}")
        container.writestr(info, content, zipfile.ZIP_DEFLATED)
    refused(path, words)
    assert [item.name for item in tmp_path.iterdir()] == ["hostile.zip"]


@pytest.mark.parametrize(
    ("name", "kind", "size", "words"),
    [
        ("../evil", tarfile.REGTYPE, 1, "outside"),
        ("/tmp/evil", tarfile.REGTYPE, 1, "outside"),
        ("bundle/link", tarfile.SYMTYPE, 0, "link"),
        ("bundle/hard", tarfile.LNKTYPE, 0, "link"),
        ("bundle/device", tarfile.CHRTYPE, 0, "link or no plain file"),
        ("bundle/README.md", tarfile.REGTYPE, 1, "twice"),
        ("bundle/zeros", tarfile.REGTYPE, 300_000_000, "times its size"),
    ],
)
def test_hostile_tars_are_refused(bundle, tmp_path, name, kind, size, words):
    path = tmp_path / "hostile.tar.gz"
    with tarfile.open(path, "w:gz") as container:
        container.add(bundle, arcname="bundle")
        info = tarfile.TarInfo(name)
        info.type, info.size, info.linkname = kind, size, "/etc/passwd"
        # What is announced need not be there: it is refused before it is read.
        container.addfile(info, io.BytesIO(bytes(size)) if 0 < size < 1000 else None)
    refused(path, words)


@pytest.mark.parametrize("name", ["entries.csv", "db.txt"])
def test_links_in_a_folder_are_refused(copy, name):
    (copy / name).unlink(missing_ok=True)
    (copy / name).symlink_to("/etc/passwd")
    refused(copy, "link")


def test_a_torn_zip_is_refused(bundle, tmp_path):
    path = tmp_path / "torn.zip"
    shutil.make_archive(str(path.with_suffix("")), "zip", bundle.parent, bundle.name)
    content = bytearray(path.read_bytes())
    content[1000:3000] = bytes(2000)
    path.write_bytes(content)
    refused(path, "damaged")


def test_counts_and_sizes_have_limits():
    with pytest.raises(RefusedBundleError, match="members"):
        check_amounts(MOST_MEMBERS + 1, 0)
    with pytest.raises(RefusedBundleError, match="GiB"):
        check_amounts(1, 2**40)


# --- hostile archives -------------------------------------------------------------------------------------------------

JOINS = "INSERT INTO db_dbgroup_dbnodes (id, dbgroup_id, dbnode_id)"
NODE = "WHERE id = (SELECT max(id) FROM db_dbnode WHERE node_type LIKE 'data.core.structure%')"
FILES = json.dumps({"o": {"../../evil": {"k": "0" * 64}}})
DEEP = json.dumps({"o": {"folder": {"o": {"..": {"o": {}}}}}})


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (f"UPDATE db_dbnode SET node_type = 'data.core.jsonable.JsonableData.' {NODE}", "JsonableData"),
        (f"UPDATE db_dbnode SET node_type = 'data.core.code.portable.PortableCode.' {NODE}", "PortableCode"),
        (f"UPDATE db_dbnode SET node_type = 'data.evil.Evil.' {NODE}", "Evil"),
        (f"UPDATE db_dbnode SET process_type = 'antigravity.fly' {NODE}", "antigravity"),
        (f"UPDATE db_dbnode SET process_type = 'aiida.calculations:core.x; import os' {NODE}", "import os"),
        (f"UPDATE db_dbnode SET repository_metadata = '{FILES}' {NODE}", "leads out"),
        (f"UPDATE db_dbnode SET repository_metadata = '{DEEP}' {NODE}", "leads out"),
        (f"UPDATE db_dbnode SET repository_metadata = '[1]' {NODE}", "unknown way"),
        (f"UPDATE db_dbnode SET attributes = '[1]' {NODE}", "no object"),
        (f"UPDATE db_dbnode SET attributes = '{{' {NODE}", "cannot be read"),
        (f"UPDATE db_dbnode SET uuid = 'x' {NODE}", "UUID"),
        ("CREATE TRIGGER evil AFTER INSERT ON db_dbnode BEGIN SELECT 1; END", "trigger"),
        ("CREATE VIEW evil AS SELECT 1", "view"),
        ("UPDATE db_dbgroup SET type_string = 'core.auto'", "group"),
        ("DELETE FROM db_dbgroup_dbnodes; DELETE FROM db_dbgroup", "group"),
        (f"{JOINS} SELECT 999999, (SELECT id FROM db_dbgroup), id FROM db_dbnode {NODE}", "StructureData"),
        ("DROP TABLE db_dblog", "cannot be read"),
        ("DROP TABLE db_dbnode", "cannot be read"),
    ],
)
def test_hostile_databases_are_refused(bundle, tmp_path, statement, words):
    path = edited(bundle, tmp_path / "hostile", lambda connection: connection.executescript(statement))
    write_checksums(path)
    hostile(path, words)


def hostile(path, words):
    """Found by verify as what must not be imported, and not imported by force."""
    findings = [finding for finding in verify_folder(path).findings if finding.refused]
    assert len(findings) == 1
    assert re.search(words, str(findings[0])), findings
    before = count_nodes()
    for force in (False, True):
        with pytest.raises(RefusedBundleError, match=words) as raised:
            import_bundle(path, force=force)
        assert "\n" not in str(raised.value)
    assert count_nodes() == before


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("../evil", b"x", "outside"),
        ("repo/../../evil", b"x", "outside"),
        ("evil.py", b"x", "no file of an archive"),
        ("repo/" + "0" * 64, b"x", "altered"),
        ("repo/" + "0" * 64, bytes(3_000_000), "times as many"),
        ("repo/short", b"x", "no file of an archive"),
    ],
)
def test_hostile_members_of_an_archive_are_refused(copy, name, content, words):
    rewrite(copy / layout.ARCHIVE, more=[(name, content)])
    write_checksums(copy)
    hostile(copy, words)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"export_version": "main_9999", "aiida_version": "9.9.9"}, "pip install -U aiida-core"),
        ({"aiida_version": "2.9.4"}, "format"),
        ([], "format"),
    ],
)
def test_archives_of_unknown_versions_are_refused(copy, metadata, words):
    rewrite(copy / layout.ARCHIVE, rename={"metadata.json": "skipped"}, more=[("metadata.json", json.dumps(metadata))])
    with zipfile.ZipFile(copy / layout.ARCHIVE) as old:
        kept = [(info, old.read(info)) for info in old.infolist() if info.filename != "skipped"]
    with zipfile.ZipFile(copy / layout.ARCHIVE, "w", zipfile.ZIP_DEFLATED) as new:
        for info, content in kept:
            new.writestr(info, content)
    write_checksums(copy)
    hostile(copy, words)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "another"}, "no bundle"),
        ({"schema_version": 99}, "pip install -U aiida-hardcoat"),
        ({"authors": [1]}, "authors"),
        ({"versions": {}}, "versions"),
        ({"fingerprint": None}, "fingerprint"),
    ],
)
def test_manifests_of_another_kind_are_refused(copy, change, words):
    manifest = {**json.loads((copy / layout.MANIFEST).read_text()), **change}
    (copy / layout.MANIFEST).write_text(json.dumps(manifest))
    write_checksums(copy)
    for call in (verify_folder, lambda path: import_bundle(path, force=True)):
        with pytest.raises(InputError, match=words):
            call(copy)
