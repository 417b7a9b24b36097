"""The entries of a bundle as one flat table, in full precision."""

from __future__ import annotations

import csv
import io
import typing
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aiida.orm import CalcFunctionNode, QueryBuilder, StructureData
from aiida.orm.implementation import StorageBackend

from aiida_hardcoat.catalogue.bundle.archive import entries_of
from aiida_hardcoat.catalogue.bundle.findings import Finding
from aiida_hardcoat.catalogue.bundle.layout import TABLE_CSV, TABLE_PARQUET
from aiida_hardcoat.catalogue.predictions import FLAGS, MODEL, MODULI
from aiida_hardcoat.catalogue.query import FIELDS
from aiida_hardcoat.data.catalogue import CatalogueGroup
from aiida_hardcoat.data.elastic import ElasticData
from aiida_hardcoat.data.prediction import PredictionData

SCALARS = tuple(name for name in FIELDS if name not in ("elements", "fractions"))
LEARNED = ("uuid", *MODEL, *MODULI, "distance", *FLAGS)

Row = dict[str, Any]


def table_rows(backend: StorageBackend) -> list[Row]:
    """A row for each entry of an archive's catalogue, by label, ions, level and UUID.

    ``fraction_Al`` ... are there for every metal of the table, ``learned_*`` is the newest prediction.
    """
    newest = newest_predictions(backend)
    entries = [(entry, field_values(entry)) for entry in entries_of(backend, members=True)]
    metals = sorted({metal for _, values in entries for metal in values["fractions"]})
    rows = []
    for entry, values in entries:
        learned = newest.get(entry.uuid, {})
        rows.append(
            {
                "uuid": entry.uuid,
                "label": entry.label,
                **{name: values[name] for name in SCALARS},
                "elements": " ".join(values["elements"]),
                **{f"fraction_{metal}": float(values["fractions"].get(metal, 0.0)) for metal in metals},
                **{f"learned_{name}": learned.get(name) for name in LEARNED},
            }
        )
    rows.sort(key=lambda row: (row["label"], row["ions"], row["level_fingerprint"], row["uuid"]))
    return rows


def field_values(entry: ElasticData) -> Row:
    """All fields of an entry, those that its schema did not have yet at their defaults."""
    fields = ElasticData.AttributesModel.model_fields
    defaults = {name: field.get_default() for name, field in fields.items() if not field.is_required()}
    return {**defaults, **entry.base.attributes.all}


def newest_predictions(backend: StorageBackend) -> dict[str, Row]:
    """The newest prediction in an archive's catalogue for the structure of each entry, by UUID of the entry."""
    query = QueryBuilder(backend=backend).append(CatalogueGroup, tag="group")
    query.append(PredictionData, with_group="group", tag="prediction", project="*")
    query.append(CalcFunctionNode, with_outgoing="prediction", tag="predict")
    query.append(StructureData, with_outgoing="predict", tag="structure")
    query.append(CalcFunctionNode, with_incoming="structure", tag="fit")
    query.append(ElasticData, with_incoming="fit", project="uuid")
    pairs = sorted(query.all(), key=lambda pair: (pair[0].ctime, pair[0].uuid))
    return {uuid: {"uuid": node.uuid, **node.base.attributes.all} for node, uuid in pairs}


def csv_text(rows: list[Row]) -> str:
    """Numbers with all digits, empty where there is none."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def write_tables(rows: list[Row], folder: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    (folder / TABLE_CSV).write_text(csv_text(rows), encoding="utf-8")
    kinds = {float: pyarrow.float64(), int: pyarrow.int64(), bool: pyarrow.bool_(), str: pyarrow.string()}
    schema = pyarrow.schema([(name, kinds[kind_of(name)]) for name in rows[0]])
    parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), folder / TABLE_PARQUET)


def kind_of(column: str) -> type:
    """Type of a column, from the field that it shows."""
    if column.startswith("fraction_"):
        return float
    model = ElasticData if column in SCALARS else PredictionData
    field = model.AttributesModel.model_fields.get(column.removeprefix("learned_"))
    if field is None:  # uuid, label
        return str
    kinds = [kind for kind in typing.get_args(field.annotation) or (field.annotation,) if kind is not type(None)]
    return kinds[0] if kinds[0] in (float, int, bool) else str


def table_findings(rows: list[Row], folder: Path) -> Iterator[Finding]:
    """Where the two tables of a bundle differ from the rows of its archive.

    Columns that only one of them has are those of another version of this package, and are passed over.
    """
    texts = [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
    for name, read, expected in ((TABLE_CSV, read_csv, texts), (TABLE_PARQUET, read_parquet, rows)):
        try:
            found = read(folder / name)
        except (OSError, ValueError, csv.Error) as error:
            yield Finding(name, f"cannot be read: {' '.join(str(error).split())}")
            continue
        yield from row_findings(name, expected, found)


def read_csv(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def read_parquet(path: Path) -> list[Row]:
    from pyarrow import parquet

    return parquet.read_table(path).to_pylist()


def row_findings(name: str, expected: Iterable[Row], found: Iterable[Row]) -> Iterator[Finding]:
    """Rows that one lacks, and values that differ, by UUID."""
    there: Mapping[Any, Row] = {row.get("uuid"): row for row in found}
    wanted = {row["uuid"]: row for row in expected}
    for uuid in sorted(there.keys() - wanted.keys(), key=str):
        yield Finding(name, "a row of no entry in the archive", uuid=uuid)
    for uuid, row in wanted.items():
        if uuid not in there:
            yield Finding(name, f"the row of {row['label']} is missing", uuid=uuid)
            continue
        for column in row.keys() & there[uuid].keys():
            if there[uuid][column] != row[column]:
                yield Finding(name, "is not that of the archive", uuid, column, there[uuid][column], row[column])
