"""Several structures in one call of the model, where that is faster: SevenNet on a GPU.

On one CPU core a batch is slower than its structures one by one: 12 cells of 8 atoms took 1.3 times as long with
7net-0, 12 cells of 32 atoms 1.6 times. On a GPU it has not been measured.
"""

from __future__ import annotations

BYTES_OF_ATOM = 25_000_000
"""Memory of an atom in a batch: half as much again as 7net-l3i5 takes on a CPU."""


def batch_size(calculator, device: str, atoms: int) -> int:
    """How many structures of that many atoms go into one call; 1 where they are better evaluated one by one."""
    if type(calculator).__name__ != "SevenNetCalculator" or not device.startswith("cuda"):
        return 1
    import torch

    free, _ = torch.cuda.mem_get_info(torch.device(device))
    return max(1, free // (BYTES_OF_ATOM * atoms))


def evaluate_batch(calculator, structures: list) -> list[dict]:
    """``energy`` (eV), ``forces`` (eV/Angstrom) and ``stress`` (eV/Angstrom^3, Voigt) of each structure, as the
    calculator itself gives them."""
    import sevenn._keys as key
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.train.dataload import unlabeled_atoms_to_graph
    from torch_geometric.data import Batch

    graphs = []
    for atoms in structures:
        calculator.set_atoms(atoms)  # refuses elements that the model does not know
        arrays = unlabeled_atoms_to_graph(atoms, calculator.cutoff, with_shift=False)
        graph = AtomGraphData.from_numpy_dict(arrays)
        if calculator.modal:
            graph[key.DATA_MODALITY] = calculator.modal
        graphs.append(graph)
    calculator.model.set_is_batch_data(True)
    try:
        output = calculator.model(Batch.from_data_list(graphs).to(calculator.device))
    finally:
        calculator.model.set_is_batch_data(False)
    energies = output[key.PRED_TOTAL_ENERGY].detach().cpu().numpy().ravel()
    stresses = -output[key.PRED_STRESS].detach().cpu().numpy()[:, [0, 1, 2, 4, 5, 3]]
    forces = output[key.PRED_FORCE].detach().cpu().numpy()
    results, first = [], 0
    for atoms, energy, stress in zip(structures, energies, stresses, strict=True):
        own = forces[first : first + len(atoms)]
        results.append({"energy": float(energy), "forces": own, "stress": stress})
        first += len(atoms)
    return results
