"""Import a bundle into a new profile and make one there, in a process of its own; prints what happened."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from aiida import orm
from aiida.manage import get_manager
from aiida.storage.sqlite_temp import SqliteTempBackend
from aiida.tools.archive import imports

from aiida_hardcoat.catalogue.bundle.create import create_bundle
from aiida_hardcoat.catalogue.bundle.importing import import_bundle
from aiida_hardcoat.catalogue.query import search
from aiida_hardcoat.data.catalogue import CatalogueGroup


def main(bundle: Path, folder: Path) -> None:
    get_manager().load_profile(SqliteTempBackend.create_profile("abroad"))
    found = {"after_interrupt": interrupted(bundle)}
    found["first"] = asdict(import_bundle(bundle))
    found["groups"] = [[group.label, group.count()] for group in CatalogueGroup.collection.all()]
    found["second"] = asdict(import_bundle(bundle))
    found["nodes"] = orm.QueryBuilder().append(orm.Node).count()
    found["rows"] = search(learned=True)
    create_bundle(folder / "again", title="A test", authors=["Doe, Jane", "The group"])
    found["hashed"] = [hashed()]
    import_bundle(bundle, use_as_cache=True)
    found["hashed"].append(hashed())
    nodes = orm.QueryBuilder().append(orm.Node).all(flat=True)
    found["wrong_hashes"] = sum(node.base.caching.get_hash() != node.base.caching.compute_hash() for node in nodes)
    print(json.dumps(found))


def interrupted(bundle: Path) -> int:
    """What is left when an import is cut off after its nodes, before its links."""
    whole = imports._import_links

    def cut(*_, **__):
        raise KeyboardInterrupt

    imports._import_links = cut
    try:
        import_bundle(bundle)
    except KeyboardInterrupt:
        pass
    finally:
        imports._import_links = whole
    return orm.QueryBuilder().append(orm.Node).count() + orm.QueryBuilder().append(orm.Group).count()


def hashed() -> int:
    nodes = orm.QueryBuilder().append(orm.Node).all(flat=True)
    return sum(node.base.caching.get_hash() is not None for node in nodes)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
