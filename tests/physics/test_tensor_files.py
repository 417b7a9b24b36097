"""Elastic tensors from files."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from aiida_hardcoat.errors import InputError
from aiida_hardcoat.physics.projection import CRYSTAL_CLASSES, project, voigt_to_rank4
from aiida_hardcoat.physics.strain import VASP_TO_VOIGT
from aiida_hardcoat.physics.tensor_files import TENSOR_KEYS, parse_tensor, read_tensor

SHARED = Path(__file__).parents[2].parent / "shared"
with_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the reference data are not beside the checkout")

TENSOR = np.diag([400.0, 410, 390, 120, 130, 140])
TENSOR[:3, :3] += np.array([[0, 100, 110], [100, 0, 120], [110, 120, 0]])
TENSOR[0, 3] = TENSOR[3, 0] = -5.25
ROWS = TENSOR.tolist()

OUTCAR = """ vasp.6.4.2
 SYMMETRIZED ELASTIC MODULI (kBar)
 Direction    XX          YY          ZZ          XY          YZ          ZX
 --------------------------------------------------------------------------------
{clamped}
 --------------------------------------------------------------------------------
{total}
"""


def outcar(*, total: bool) -> str:
    inverse = np.argsort(VASP_TO_VOIGT)
    rows = TENSOR[np.ix_(inverse, inverse)] * 10
    labels = ["XX", "YY", "ZZ", "XY", "YZ", "ZX"]
    block = "\n".join(f" {n} " + " ".join(f"{x:12.4f}" for x in r) for n, r in zip(labels, rows, strict=True))
    title = " TOTAL ELASTIC MODULI (kBar)\n Direction XX YY ZZ XY YZ ZX\n ---\n"
    return OUTCAR.format(clamped=block, total=title + block if total else "")


def text(rows, separator=" ") -> str:
    return "\n".join(separator.join(map(str, row)) for row in rows)


JSON_LAYOUTS = {
    "rows": ROWS,
    "36 numbers": TENSOR.ravel().tolist(),
    "21 numbers": TENSOR[np.triu_indices(6)].tolist(),
    "upper triangle": [row[number:] for number, row in enumerate(ROWS)],
    "rank 4": voigt_to_rank4(TENSOR).tolist(),
    "numpy of pymatgen": {"@module": "numpy", "data": ROWS},
    "materials project": {"elastic_tensor": {"raw": ROWS, "ieee_format": np.rint(TENSOR).tolist()}},
    "with units": {"tensor": (TENSOR * 10).tolist(), "units": "kbar"},
    "with units by key": {"tensor": (TENSOR * 1e9).tolist(), "units": {"tensor": "Pa"}},
    "named": {f"C{i + 1}{j + 1}": TENSOR[i, j] for i in range(6) for j in range(i, 6)},
}


@pytest.mark.parametrize("layout", JSON_LAYOUTS)
def test_json_layouts(layout):
    np.testing.assert_allclose(parse_tensor(json.dumps(JSON_LAYOUTS[layout])).tensor, TENSOR, atol=1e-9)


@pytest.mark.parametrize("key", [*TENSOR_KEYS, "C_GPa", "C_ieee_GPa", "C_in", "Elastic Tensor"])
def test_usual_keys(key):
    np.testing.assert_allclose(parse_tensor(json.dumps({key: ROWS})).tensor, TENSOR)


@pytest.mark.parametrize(
    "content",
    [
        text(ROWS),
        text(ROWS, ", "),
        text(ROWS, "\t"),
        "# stiffness of 300 K, GPa\n\n" + text(ROWS, ";") + "\n# end",
        "xx,yy,zz,yz,xz,xy\n" + text(ROWS, ","),
        "\n".join(f"C{number} " + text([row]) for number, row in enumerate(ROWS, 1)),
        "elastic tensor in kbar\n" + text((TENSOR * 10).tolist()),
        text([TENSOR.ravel().tolist()]),
        "\ufeff" + text(ROWS),
        "[" + text(ROWS, ", ").replace("\n", "],\n[") + "]",
        str(TENSOR),
    ],
)
def test_text_layouts(content):
    np.testing.assert_allclose(parse_tensor(content).tensor, TENSOR)


@given(arrays(float, (6, 6), elements=st.floats(-200, 200)), st.sampled_from(CRYSTAL_CLASSES))
def test_named_constants_of_any_class_fix_the_tensor(matrix, name):
    tensor = project(matrix + matrix.T + 300 * np.eye(6), name).tensor
    named = {f"c{i + 1}{j + 1}": tensor[i, j] for i in range(6) for j in range(i, 6)}
    read = parse_tensor(json.dumps({**named, "symmetry": name}))
    np.testing.assert_allclose(read.tensor, tensor, atol=1e-8)
    assert read.crystal_class == name


def test_few_named_constants():
    cubic = parse_tensor('{"c11": 584, "c12": 136, "c44": 166}').tensor
    assert cubic[1, 1] == pytest.approx(584)
    assert cubic[0, 2] == pytest.approx(136)
    assert cubic[5, 5] == pytest.approx(166)
    hexagonal = {"c11": 405, "c12": 135, "c13": 130, "c33": 390, "c44": 116, "crystal_class": "hexagonal"}
    assert parse_tensor(json.dumps(hexagonal)).tensor[5, 5] == pytest.approx((405 - 135) / 2)
    with pytest.raises(InputError, match="need their crystal class"):
        parse_tensor('{"c11": 1, "c12": 1, "c13": 1, "c33": 1, "c44": 1}')
    with pytest.raises(InputError, match="do not fix the 5"):
        parse_tensor('{"c11": 405, "c12": 135, "c44": 116, "symmetry": "hexagonal"}')
    with pytest.raises(InputError, match="contradict"):
        parse_tensor(json.dumps({**hexagonal, "c66": 200}))


def test_outcar_prefers_the_total_and_says_when_it_is_not_there():
    total = parse_tensor(outcar(total=True))
    np.testing.assert_allclose(total.tensor, TENSOR, atol=1e-4)
    assert "total" in total.notes[0]
    clamped = parse_tensor(outcar(total=False))
    np.testing.assert_allclose(clamped.tensor, TENSOR, atol=1e-4)
    assert "clamped ions" in clamped.notes[0]


def test_small_asymmetry_is_averaged_and_reported():
    skewed = TENSOR.copy()
    skewed[0, 1] += 1
    read = parse_tensor(text(skewed))
    assert read.asymmetry == pytest.approx(1)
    assert read.tensor[0, 1] == read.tensor[1, 0] == pytest.approx(100.5)
    assert "symmetrised" in read.notes[-1]
    assert parse_tensor(text(TENSOR)).asymmetry == 0


SKEWED = TENSOR + np.triu(np.full((6, 6), 50.0), 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("no numbers here", "no tensor"),
        (text(ROWS[:5]), "got 5 rows of 6"),
        (text([row[:5] for row in ROWS]), "got 6 rows of 5"),
        (text([*ROWS[:5], ROWS[5][:4]]), "rows of 6, 6, 6, 6, 6, 4"),
        (text(ROWS).replace("-5.25", "nan"), "not finite"),
        (text(ROWS).replace("-5.25", "abc"), "'abc'"),
        (text(SKEWED), "not symmetric"),
        (text(TENSOR * 1e9), "looks like Pa"),
        (text(TENSOR * 1e3), "looks like MPa or kbar"),
        (text(np.linalg.inv(TENSOR)), "compliance"),
        (text(np.zeros((6, 6))), "zero"),
        (json.dumps(ROWS[:5]), "got 5 rows of 6"),
        (json.dumps([1, 2, 3]), "got 3 numbers"),
        (json.dumps([{"tensor": ROWS}] * 2), "2 objects"),
        (json.dumps({"energy": 1}), "name it"),
        (json.dumps({"tensor": ROWS, "units": "psi"}), "Unknown units 'psi'"),
        (json.dumps({"tensor": "x"}), "not a number|6x6"),
        (json.dumps({"tensor": [["a"] * 6] * 6}), "not a number"),
        (json.dumps({"tensor": ROWS, "symmetry": "cubik"}), "did you mean 'cubic'"),
        ('{"tensor": [1,', "Not valid JSON"),
        (" vasp.6.4.2\n INCAR:\n nothing", "no elastic moduli"),
        (outcar(total=False)[:400], "cut short"),
    ],
)
def test_bad_input_is_refused_in_one_line(content, message):
    with pytest.raises(InputError, match=message) as error:
        parse_tensor(content)
    assert "\n" not in str(error.value)


@given(st.text())
def test_no_text_makes_anything_but_an_input_error(content):
    with contextlib.suppress(InputError):
        parse_tensor(content)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=7) | st.dictionaries(st.sampled_from(["tensor", "c11", "units", "data", "x"]), inner)
    ),
    max_leaves=30,
)


@given(json_values)
def test_no_json_makes_anything_but_an_input_error(value):
    with contextlib.suppress(InputError):
        parse_tensor(json.dumps(value))


def test_files(tmp_path):
    path = tmp_path / "tensor.dat"
    path.write_text(text(ROWS))
    np.testing.assert_allclose(read_tensor(path).tensor, TENSOR)
    with pytest.raises(InputError, match=r"absent\.dat: No such file"):
        read_tensor(tmp_path / "absent.dat")
    with pytest.raises(InputError, match="Cannot read"):
        read_tensor(tmp_path)
    path.write_text("1 2 3")
    with pytest.raises(InputError, match=r"tensor\.dat: "):
        read_tensor(path)


@with_shared
def test_silicon_from_vasp():
    read = read_tensor(SHARED / "vectors" / "aiida-vasp" / "OUTCAR_elastic_block.txt")
    expected = np.diag([167.45786] * 3 + [77.58054] * 3)
    expected[:3, :3] += 70.4739 * (1 - np.eye(3))
    np.testing.assert_allclose(read.tensor, expected, atol=1e-5)


@pytest.mark.parametrize("triangle", [np.triu, np.tril])
def test_one_triangle_is_mirrored_and_said(triangle):
    full = np.diag([500.0, 490.0, 480.0, 200.0, 190.0, 180.0]) + 120.0 * (1 - np.eye(6))
    read = parse_tensor(json.dumps(triangle(full).tolist()))
    np.testing.assert_array_equal(read.tensor, full)
    assert "only one triangle was given: mirrored" in read.notes


def test_the_only_square_of_an_object_is_its_tensor_and_two_are_refused():
    square = np.diag([500.0, 490.0, 480.0, 200.0, 190.0, 180.0]).tolist()
    np.testing.assert_array_equal(parse_tensor(json.dumps({"id": 3, "my_result": square})).tensor, square)
    with pytest.raises(InputError, match="No elastic tensor"):
        parse_tensor(json.dumps({"one": square, "another": square}))
