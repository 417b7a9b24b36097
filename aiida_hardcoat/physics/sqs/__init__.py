"""Special quasirandom structures: disordered alloys in small periodic cells."""

from aiida_hardcoat.physics.sqs.clusters import ClusterSpace, SupercellClusters, cluster_space, place
from aiida_hardcoat.physics.sqs.correlations import (
    PAIRS,
    PAIRS_AND_TRIPLETS,
    VECTOR_RESOLVED,
    Correlations,
    Weights,
    cluster_vector,
    correlations,
)
from aiida_hardcoat.physics.sqs.generate import SQS, find_sqs
from aiida_hardcoat.physics.sqs.structure import (
    build_atoms,
    occupation_hash,
    occupation_text,
    read_occupation,
)

__all__ = [
    "PAIRS",
    "PAIRS_AND_TRIPLETS",
    "SQS",
    "VECTOR_RESOLVED",
    "ClusterSpace",
    "Correlations",
    "SupercellClusters",
    "Weights",
    "build_atoms",
    "cluster_space",
    "cluster_vector",
    "correlations",
    "find_sqs",
    "occupation_hash",
    "occupation_text",
    "place",
    "read_occupation",
]
