"""The group that holds the catalogue."""

from aiida_hardcoat.data.catalogue import CatalogueGroup, catalogue


def test_two_workers_make_the_same_catalogue_at_once(monkeypatch):
    def after_another(self, label):
        CatalogueGroup(label=label).store()  # the other worker's
        return CatalogueGroup(label=label).store(), True

    monkeypatch.setattr(type(CatalogueGroup.collection), "get_or_create", after_another)
    found = catalogue("made-by-two")
    assert found.is_stored
    assert found.pk == CatalogueGroup.collection.get(label="made-by-two").pk
