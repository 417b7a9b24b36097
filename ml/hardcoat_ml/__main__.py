"""``python -m hardcoat_ml SET.npz FOLDER``: training with PyTorch, PyTorch Geometric and safetensors alone."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hardcoat_ml.errors import InputError


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m hardcoat_ml", description="Train an ensemble on a prepared set.")
    parser.add_argument("set", type=Path, help="what `hardcoat ml prepare` wrote")
    parser.add_argument("folder", type=Path, help="of the run; the same command goes on with it after a stop")
    parser.add_argument("--protocol", default="quick", help="study or quick (default)")
    parser.add_argument("--name", default="cgcnn", help="of the ensemble's files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    parser.add_argument("--members", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--tensorboard", action="store_true")
    given = parser.parse_args()

    from hardcoat_ml import VERSION
    from hardcoat_ml.runs import run
    from hardcoat_ml.training import load_protocol
    from hardcoat_ml.training_set import load

    try:
        ensemble = run(
            load(given.set),
            load_protocol(given.protocol, members=given.members, epochs=given.epochs),
            given.folder,
            name=given.name,
            version=VERSION,
            seed=given.seed,
            device=given.device,
            tensorboard=given.tensorboard,
        )
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped: the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    print(f"{given.folder / given.name}.safetensors  sha256 {ensemble.sha256}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
