"""Calculators by name or import path: their device, their weights, and what is never imported where one submits."""

import importlib.util
import json
import sys

import numpy as np
import pytest
from aiida import orm
from calculators import PairPotential
from conftest import QUICK_RELAXATION, rattled_alloy

from aiida_hardcoat.calculations.elastic import level_fingerprint
from aiida_hardcoat.engines import ase as engine
from aiida_hardcoat.engines import ase_driver as driver
from aiida_hardcoat.engines.ase_driver import batches, calculators
from aiida_hardcoat.engines.ase_driver import driver as driver_module
from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.strain import strain_set

SOURCE = '''
import torch
from calculators import PairPotential


class Network(PairPotential):
    """A calculator that holds a torch module and computes on a device."""

    def __init__(self, weights=None, seed=0, device="cpu", members=1):
        super().__init__()
        self.device = device
        self.models = []
        for member in range(members):
            torch.manual_seed(seed + member)
            self.models.append(torch.nn.Linear(3, 2))


def committee(seed=0, device=""):
    return Network(seed=seed, device=device, members=2)


def half(seed=0):
    network = Network(seed=seed)
    network.models[0].bfloat16()
    return network


def nothing():
    return 7
'''


@pytest.fixture
def load(tmp_path, monkeypatch):
    """A function that loads a calculator of a module of one's own."""
    (tmp_path / "own_potential.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_potential", raising=False)

    def load_it(name, device=None, **options):
        return driver.load_calculator(f"own_potential:{name}", options, device)

    return load_it


@pytest.fixture
def gpu(monkeypatch):
    """As if there were one."""
    monkeypatch.setattr(calculators, "has_gpu", lambda: True)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(calculators, "has_gpu", lambda: False)


# --- device -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "there", "device"), [
    ("auto", True, "cuda"), ("auto", False, "cpu"), (None, True, "cuda"), (None, False, "cpu"),
    ("cpu", True, "cpu"), ("cuda", True, "cuda"), ("cuda:1", True, "cuda:1"),
])  # fmt: skip
def test_a_calculator_gets_the_device_that_was_asked_for(load, monkeypatch, asked, there, device):
    monkeypatch.setattr(calculators, "has_gpu", lambda: there)
    for name in ("Network", "committee"):
        calculator, level = load(name, asked)
        assert calculator.device == level["device"] == device


def test_the_device_among_the_options_is_the_same_wish(load, gpu):
    calculator, level = load("Network", device="cpu")
    assert calculator.device == level["device"] == "cpu"
    assert level["options"] == {}


@pytest.mark.parametrize("model", ["7net-0", "chgnet", "own_potential:Network"])
def test_a_gpu_that_is_not_there_is_one_clear_line(load, no_gpu, model):
    package = {"7net-0": "sevenn", "chgnet": "chgnet"}.get(model)
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    with pytest.raises(driver.DriverError, match="no GPU here") as raised:
        driver.load_calculator(model, {}, "cuda")
    assert raised.value.kind == "calculator_failed"
    assert len(str(raised.value).splitlines()) == 1


def test_a_calculator_without_devices_takes_no_gpu(gpu):
    _, level = driver.load_calculator("calculators:PairPotential", {})
    assert level["device"] == "cpu"
    with pytest.raises(driver.DriverError, match="takes no device"):
        driver.load_calculator("calculators:PairPotential", {}, "cuda")


def test_levels_that_differ_by_the_device_alone_are_one(load, gpu):
    levels = [load("Network", device)[1] for device in ("cpu", "cuda")]
    assert levels[0]["device"] != levels[1]["device"]
    assert level_fingerprint(levels[0]) == level_fingerprint(levels[1])
    settings = [{**QUICK_RELAXATION, "model_options": {"a": 1, "device": device}} for device in ("cpu", "cuda")]
    assert engine.level_settings(settings[0]) == engine.level_settings(settings[1])


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"device": "gpu"}, "auto, cpu"),
        ({"device": 0}, "auto, cpu"),
        ({"model_options": {"device": "mps"}}, "auto, cpu"),
        ({"device": "cpu", "model_options": {"device": "cuda"}}, "leave out"),
        ({"devise": "cuda"}, "device"),
    ],
)
def test_a_device_that_cannot_be_is_refused(changes, word):
    with pytest.raises(InputError, match=word):
        engine.check_settings("relax", "7net-0", {**QUICK_RELAXATION, **changes})


@pytest.mark.parametrize("changes", [{}, {"device": "cuda:1"}, {"device": "cuda", "model_options": {"device": "cuda"}}])
def test_a_device_is_a_setting_that_may_be_left_out(changes):
    engine.check_settings("relax", "7net-0", {**QUICK_RELAXATION, **changes})
    # What is left out is not written, so that jobs of before are found by the cache.
    assert ("device" in engine.complete_settings("relax", "7net-0", changes)) == ("device" in changes)


# --- weights ----------------------------------------------------------------------------------------------------


def test_all_files_are_hashed_whatever_their_names_and_order(load, tmp_path):
    files = {}
    for name, content in {"a": "1", "b": "2", "copy_of_a": "1", "c": "3"}.items():
        path = tmp_path / f"{name}.pt"
        path.write_text(content)
        files[name] = str(path)

    def digest(*names):
        _, level = load("Network", weights=[files[name] for name in names])
        assert str(tmp_path) not in json.dumps(level)
        return level["sha256"]

    assert digest("a", "b") == digest("b", "copy_of_a")
    assert len({digest("a"), digest("a", "b"), digest("a", "c"), digest("a", "b", "c")}) == 4
    one = load("Network", weights=files["a"])[1]
    assert level_fingerprint(one) == level_fingerprint(load("Network", weights=files["copy_of_a"])[1])


def test_weights_without_a_file_are_those_that_the_calculator_holds(load):
    """A model that a name stands for may have been downloaded to anywhere."""
    digests = [load(name, seed=seed)[1]["sha256"] for name in ("Network", "committee", "half") for seed in (0, 1)]
    assert len(set(digests)) == len(digests)
    assert load("Network", seed=0)[1]["sha256"] == digests[0] == driver.state_sha256(load("Network")[0].models[0])


def test_what_is_no_calculator_is_refused(load):
    with pytest.raises(driver.DriverError, match="int") as raised:
        load("nothing")
    assert raised.value.kind == "calculator_failed"


# --- nothing is imported where one submits ----------------------------------------------------------------------


def test_checks_and_builders_never_import_the_model(code, tmp_path, monkeypatch):
    from aiida_hardcoat.workflows.alloy import AlloyWorkChain

    mark = tmp_path / "imported"
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap" / "__init__.py").write_text(f"open({str(mark)!r}, 'w')\nclass Calculator: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    model = "trap:Calculator"
    engine.check_model(model)
    engine.check_settings("relax", model, QUICK_RELAXATION)
    engine.level_settings(QUICK_RELAXATION)
    engine.get_builder(
        code=code,
        structure=orm.StructureData(ase=rattled_alloy()),
        strains=None,
        task="relax",
        model=model,
        settings=QUICK_RELAXATION,
        options={},
    )
    AlloyWorkChain.get_builder_from_protocol(code, "TiN", "B1", "fast", {"sqs": {"atoms": 8}}, engine=f"ase:{model}")
    assert "trap" not in sys.modules
    assert not mark.exists()


@pytest.mark.parametrize(
    "model", ["os:system('id')", "../trap:C", "trap", "a b:C", "a:C;id", "a:", ":C", "a:b.c", "a:C\n"]
)
def test_what_is_no_import_path_is_no_model(model):
    with pytest.raises(InputError):
        engine.check_model(model)


# --- batches ----------------------------------------------------------------------------------------------------


def test_a_batch_gives_what_its_structures_give_one_by_one():
    pytest.importorskip("sevenn")
    calculator, _ = driver.load_calculator("7net-0", {}, "cpu")
    small = rattled_alloy()
    large = small * (1, 1, 2)
    structures = [driver.strained_copy(small, strain) for strain in strain_set((0.03,), (0.06,))[:2]] + [large]
    for atoms, results in zip(structures, batches.evaluate_batch(calculator, structures), strict=True):
        atoms.calc = calculator
        assert results["energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-4)
        np.testing.assert_allclose(results["forces"], atoms.get_forces(), atol=1e-4)
        np.testing.assert_allclose(results["stress"], atoms.get_stress(), atol=1e-5)
    assert batches.batch_size(calculator, "cpu", 8) == 1


def test_records_of_batches_are_those_of_single_structures(tmp_path, monkeypatch):
    atoms = rattled_alloy()
    settings = {**QUICK_RELAXATION, "task": "static", "model": "calculators:PairPotential", "model_options": {}}
    job = {
        "symbols": list(atoms.symbols),
        "cell": atoms.cell.array.tolist(),
        "positions": atoms.positions.tolist(),
        "strains": strain_set((0.01,), (0.02,))[:5].tolist(),
        "settings": {**settings, "optimiser": "BFGS"},
    }
    records = []
    batched = []

    def evaluate_batch(calculator, structures):
        batched.append(len(structures))
        results = []
        for one in structures:
            one.calc = PairPotential()
            results.append(
                {"energy": one.get_potential_energy(), "forces": one.get_forces(), "stress": one.get_stress()}
            )
        return results

    monkeypatch.setattr(driver_module, "evaluate_batch", evaluate_batch)
    for size in (1, 2):
        monkeypatch.setattr(driver_module, "batch_size", lambda *_, size=size: size)
        folder = tmp_path / str(size)
        folder.mkdir()
        (folder / "input.json").write_text(json.dumps(job))
        lines = []
        driver.run(folder, lines.append)
        records.append(driver.load_records(folder / "records.jsonl"))
        assert int(lines[-1].split()[0]) == 5
    assert batched == [2, 2, 1]
    for index, record in records[0].items():
        del record["seconds"], records[1][index]["seconds"]
        assert record == records[1][index]
