"""The moduli of alloys as Vegard's rule plus a learned excess that vanishes at the end members.

For a modulus P and metals i, j, ... of shares x the relative excess is a sum over pairs,

    P / P_Vegard - 1 = sum_{i<j} 4 x_i x_j [ sum_k a_k f_k(i, j) + (x_i - x_j) sum_k b_k g_k(i, j) ],

the expansion of Redlich and Kister, Ind. Eng. Chem. 40, 345 (1948), to its second term, carried to more metals as
Muggianu et al., J. Chim. Phys. 72, 83 (1975), do. The f are symmetric and the g antisymmetric in i and j, so the names
of the metals play no role, and all vanish for metals that do not differ. A smooth function of what sets two metals
apart starts with squares in what is symmetric and with cubes in what is not, hence

    f = size^2, contrast^2        g = size^2 contrast

where ``size`` is the relative difference of the metal-anion bond lengths from the additive covalent radii of Pyykkö and
Atsumi, Chem. Eur. J. 15, 186 (2009), since bonds that are strained to fit are what Vegard's rule leaves out, and
``contrast`` is the relative difference of the end members' modulus, since a stiff and a soft neighbour share a strain
unequally. The coefficients come from ridge regression without an intercept, its penalty chosen by leaving out pairs of
the data that are learned from, and by nothing else; with too few pairs to choose by it is set beforehand. A structure
type, anion, treatment of ions and level of theory has coefficients of its own; since they have no unit, and descriptors
are those of the structure's own end members, structure types can also share them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hardcoat_ml.alloys import (
    Alloy,
    EndMembers,
    Fold,
    Predictor,
    Setting,
    end_members,
    missing_end_member,
    mixtures,
    pair_folds,
    predict_vegard,
    vegard,
)
from hardcoat_ml.errors import InputError
from hardcoat_ml.metrics import FloatArray

MODULI = ("bulk_modulus", "shear_modulus")
SYMMETRIC = ("size^2", "contrast^2")
DESCRIPTORS = (*SYMMETRIC, "size^2 contrast")

PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3, math.inf)
"""Relative to the mean square of the columns; an infinite one is Vegard's rule."""
USUAL_PENALTY = 0.01
"""The square of a tenth: to no better than that is the excess of one cell known."""
FEWEST_TO_CHOOSE = 5
"""Sets of metals below which the penalty is the usual one: with made-up alloys that obey this model, to within some
noise, a choice by fewer left-out sets is worse than none."""
FEWEST_SYSTEMS = 3
"""Sets of metals from which an excess is learned for use: leaving one out must leave two to learn from."""

Columns = Callable[[Alloy, EndMembers], FloatArray]
"""What multiplies the coefficients, (2, k) for bulk and shear modulus; 0 for an end member, NaN where unknown."""

# Single-bond covalent radii in pm, hydrogen to fermium (Pyykkö and Atsumi 2009).
_RADII = (
    "H 32 He 46 Li 133 Be 102 B 85 C 75 N 71 O 63 F 64 Ne 67 Na 155 Mg 139 Al 126 Si 116 P 111 S 103 Cl 99 Ar 96 K 196 "
    "Ca 171 Sc 148 Ti 136 V 134 Cr 122 Mn 119 Fe 116 Co 111 Ni 110 Cu 112 Zn 118 Ga 124 Ge 121 As 121 Se 116 Br 114 "
    "Kr 117 Rb 210 Sr 185 Y 163 Zr 154 Nb 147 Mo 138 Tc 128 Ru 125 Rh 125 Pd 120 Ag 128 Cd 136 In 142 Sn 140 Sb 140 "
    "Te 136 I 133 Xe 131 Cs 232 Ba 196 La 180 Ce 163 Pr 176 Nd 174 Pm 173 Sm 172 Eu 168 Gd 169 Tb 168 Dy 167 Ho 166 "
    "Er 165 Tm 164 Yb 170 Lu 162 Hf 152 Ta 146 W 137 Re 131 Os 129 Ir 122 Pt 123 Au 124 Hg 133 Tl 144 Pb 144 Bi 151 "
    "Po 145 At 147 Rn 142 Fr 223 Ra 201 Ac 186 Th 175 Pa 169 U 170 Np 171 Pu 172 Am 166 Cm 166 Bk 168 Cf 168 Es 165 "
    "Fm 167"
)
RADII = {symbol: float(radius) for symbol, radius in zip(_RADII.split()[::2], _RADII.split()[1::2], strict=True)}
"""pm, by symbol."""


# --- descriptors ------------------------------------------------------------------------------------------------------


def size_difference(first: str, second: str, anion: str) -> float:
    """Relative difference of the bond lengths of two metals to an anion; antisymmetric.

    :raises InputError: for an element without a radius.
    """
    unknown = [symbol for symbol in (first, second, anion) if symbol not in RADII]
    if unknown:
        raise InputError(f"{unknown[0]} has no tabulated covalent radius: the excess of its alloys cannot be learned")
    one, other = RADII[first] + RADII[anion], RADII[second] + RADII[anion]
    return 2 * (one - other) / (one + other)


def contrasts(first: str, second: str, setting: Setting, ends: EndMembers) -> FloatArray:
    """(2,): relative difference of the end members' bulk and shear modulus; antisymmetric."""
    one, other = ends[setting, first].moduli, ends[setting, second].moduli
    return np.asarray(2 * (one - other) / (one + other))


def symmetric_descriptors(first: str, second: str, setting: Setting, ends: EndMembers) -> FloatArray:
    """(2, len(SYMMETRIC)) of a pair of metals, for the bulk and the shear modulus."""
    size = size_difference(first, second, setting.anion)
    return np.stack([np.full(2, size**2), contrasts(first, second, setting, ends) ** 2], axis=1)


def descriptors(alloy: Alloy, ends: EndMembers) -> FloatArray:
    """(2, len(DESCRIPTORS)): the columns of the excess, summed over the pairs of metals."""
    share = {metal: float(value) for metal, value in alloy.fractions}
    columns = np.zeros((len(MODULI), len(DESCRIPTORS)))
    for first, second in alloy.pairs:
        even = symmetric_descriptors(first, second, alloy.setting, ends)
        odd = (share[first] - share[second]) * even[:, :1] * contrasts(first, second, alloy.setting, ends)[:, None]
        columns += 4 * share[first] * share[second] * np.hstack([even, odd])
    return columns


def mixing_weight(alloy: Alloy) -> float:
    """sum_{i<j} 4 x_i x_j: 0 for an end member, 1 for two metals in equal parts."""
    return 2 * (1 - sum(float(share) ** 2 for _, share in alloy.fractions))


# --- regression -------------------------------------------------------------------------------------------------------


def solve_ridge(squares: FloatArray, products: FloatArray, penalty: float) -> FloatArray:
    """Coefficients (..., k) of ridge regressions without intercept, many at once.

    Columns are scaled to a mean square of one, and the penalty is relative to their number, so that it depends neither
    on units nor on how often a row is repeated.

    :param squares: (..., k, k), means over the rows of the products of two columns.
    :param products: (..., k), means over the rows of the products of a column and the target.
    """
    width = products.shape[-1]
    if math.isinf(penalty):
        return np.zeros_like(products)
    scale = np.sqrt(np.diagonal(squares, axis1=-2, axis2=-1))
    scale = np.where(scale == 0, 1.0, scale)
    normal = squares / scale[..., :, None] / scale[..., None, :] + penalty * width * np.eye(width)
    return np.asarray(np.linalg.solve(normal, (products / scale)[..., None])[..., 0] / scale)


def ridge(rows: FloatArray, targets: FloatArray, penalty: float) -> FloatArray:
    """Coefficients (k,) of targets (n,) on rows (n, k); see `solve_ridge`."""
    return solve_ridge(rows.T @ rows / len(rows), rows.T @ targets / len(rows), penalty)


def choose_penalty(rows: FloatArray, targets: FloatArray, folds: Sequence[Fold]) -> float:
    """The penalty of the lowest mean squared error over the folds, each set of metals counting once."""
    folds = [(learn, asked) for learn, asked in folds if learn.any()]
    if len(folds) < FEWEST_TO_CHOOSE:
        return USUAL_PENALTY
    learn, asked = (np.array(masks, dtype=np.float64) for masks in zip(*folds, strict=True))
    learn /= learn.sum(axis=1, keepdims=True)
    asked /= asked.sum(axis=1, keepdims=True)
    squares = np.tensordot(learn, rows[:, :, None] * rows[:, None, :], axes=1)
    products = learn @ (rows * targets[:, None])

    def error(penalty: float) -> float:
        predicted = solve_ridge(squares, products, penalty) @ rows.T
        return float((asked * (predicted - targets) ** 2).sum(axis=1).mean())

    # Of equal errors the strongest penalty counts.
    return min(reversed(PENALTIES), key=error)


@dataclass(frozen=True, eq=False)
class Excess:
    """What was learned of one modulus in one setting; no coefficients are Vegard's rule.

    :ivar penalty: of the ridge regression; infinite for Vegard's rule.
    :ivar why: a clause that says why Vegard's rule is used, empty where the excess was learned.
    """

    coefficients: FloatArray
    penalty: float
    why: str = ""


def learn_excess(
    alloys: Sequence[Alloy], ends: EndMembers, fewest: int = FEWEST_SYSTEMS, columns: Columns = descriptors
) -> tuple[Excess, Excess]:
    """The excess of bulk and shear modulus from mixed alloys of one setting.

    :param fewest: sets of metals below which Vegard's rule is kept.
    """
    every = [columns(alloy, ends) for alloy in alloys]
    known = [k for k, each in enumerate(every) if np.isfinite(each).all()]
    chosen = [alloys[k] for k in known]
    systems = len({alloy.metals for alloy in chosen})
    if systems < fewest:
        why = f"only {systems} set{'s' * (systems != 1)} of metals to learn from, {fewest} are needed"
        return Excess(np.zeros(0), math.inf, why), Excess(np.zeros(0), math.inf, why)
    rows = np.array([every[k] for k in known])
    moduli = np.array([alloy.moduli for alloy in chosen])
    targets = moduli / np.array([vegard(alloy, ends) for alloy in chosen]) - 1
    folds = list(pair_folds(chosen))

    def learn(modulus: int) -> Excess:
        penalty = choose_penalty(rows[:, modulus], targets[:, modulus], folds)
        why = "no learned excess was better for pairs that were left out" if math.isinf(penalty) else ""
        return Excess(ridge(rows[:, modulus], targets[:, modulus], penalty), penalty, why)

    return learn(0), learn(1)


def apply_excess(
    alloy: Alloy, ends: EndMembers, excess: tuple[Excess, Excess], columns: Columns = descriptors
) -> FloatArray:
    """(2,): bulk and shear modulus, GPa."""
    relative = [
        0.0 if each.why else float(row @ each.coefficients)
        for row, each in zip(columns(alloy, ends), excess, strict=True)
    ]
    return np.asarray(vegard(alloy, ends) * (1 + np.array(relative)))


# --- predictors -------------------------------------------------------------------------------------------------------


def lesson(alloys: Sequence[Alloy], setting: Setting, pooled: bool) -> list[Alloy]:
    """The mixed alloys that a setting learns from: its own or, pooled, those of all structure types."""
    kin = {setting._replace(structure=alloy.setting.structure) for alloy in alloys} if pooled else {setting}
    return [alloy for alloy in mixtures(alloys) if alloy.setting in kin]


def ridge_predictor(columns: Columns, pooled: bool = False) -> Predictor:
    """Vegard's rule with an excess learned on ``columns``, from two sets of metals on, in the setting of what is asked.

    An alloy without known columns is not learned from, and comes out as NaN.

    :param pooled: whether structure types share their coefficients.
    """

    def predictor(learn: Sequence[Alloy], asked: Sequence[Alloy]) -> FloatArray:
        ends = end_members(learn)
        learned = {
            setting: learn_excess(lesson(learn, setting, pooled), ends, FEWEST_SYSTEMS - 1, columns)
            for setting in {alloy.setting for alloy in asked}
        }
        moduli = np.array([apply_excess(alloy, ends, learned[alloy.setting], columns) for alloy in asked])
        unknown = np.array([not np.isfinite(columns(alloy, ends)).all() for alloy in asked])
        moduli[unknown] = np.nan
        return moduli

    return predictor


predict_excess = ridge_predictor(descriptors)
predict_pooled_excess = ridge_predictor(descriptors, pooled=True)


def feature_columns(features: Mapping[Alloy, FloatArray]) -> Columns:
    """Columns from features (k,) of structures, such as those of a network: the alloy's less those of its end members,
    mixed linearly, so that they vanish at the end members."""

    def columns(alloy: Alloy, ends: EndMembers) -> FloatArray:
        mixed = sum(float(share) * features[ends[alloy.setting, metal]] for metal, share in alloy.fractions)
        return np.tile(features[alloy] - mixed, (len(MODULI), 1))

    return columns


def reference_excess(reference: Sequence[Alloy]) -> Callable[[Alloy], FloatArray]:
    """The relative excess (2,) of the same alloy in other calculations; NaN where they lack it or an end member."""

    def key(alloy: Alloy) -> tuple[object, ...]:
        return alloy.fractions, alloy.setting.structure, alloy.setting.anion, alloy.setting.ions

    ends = end_members(reference)
    known = {
        key(alloy): alloy.moduli / vegard(alloy, ends) - 1
        for alloy in mixtures(reference)
        if missing_end_member(alloy, ends) is None
    }
    return lambda alloy: known.get(key(alloy), np.full(len(MODULI), np.nan))


def add_reference_excess(reference: Sequence[Alloy]) -> Predictor:
    """Vegard's rule with the relative excess of other calculations, as it is."""
    excess = reference_excess(reference)

    def predictor(learn: Sequence[Alloy], asked: Sequence[Alloy]) -> FloatArray:
        return np.asarray(predict_vegard(learn, asked) * (1 + np.array([excess(alloy) for alloy in asked])))

    return predictor


def learn_reference_excess(reference: Sequence[Alloy]) -> Predictor:
    """The learned excess with that of other calculations as one more column."""
    excess = reference_excess(reference)
    return ridge_predictor(lambda alloy, ends: np.hstack([descriptors(alloy, ends), excess(alloy)[:, None]]))
