"""What is installed: Python, packages, the learned model."""

from __future__ import annotations

import sys
from importlib import metadata

from aiida_hardcoat.cli.doctor_findings import Finding, finding

PACKAGES = (
    "aiida-core",
    "aiida-vasp",
    "aiida-pseudo",
    "pymatgen",
    "numpy",
    "ase",
    "torch",
    "torch-geometric",
    "safetensors",
    "sevenn",
)
OPTIONAL_PACKAGES = {"chgnet": "pip install 'aiida-hardcoat[chgnet]'"}


def version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def check_packages() -> list[Finding]:
    findings = [finding("python", sys.version_info >= (3, 11), sys.version.split()[0], "use Python 3.11 or newer")]
    for package in PACKAGES:
        version = version_of(package)
        findings.append(finding(package, version is not None, version or "not installed", f"pip install {package}"))
    for package, mend in OPTIONAL_PACKAGES.items():
        version = version_of(package)
        findings.append(finding(package, version is not None, version or "not installed", mend, needed=False))
    return findings


def check_model() -> Finding:
    """The weights that come with the package, read as a prediction reads them."""
    from aiida_hardcoat import learned
    from hardcoat_ml.errors import InputError as ModelInputError

    try:
        model = learned.model_identity(learned.load_ensemble())
    except (ModelInputError, ImportError) as error:
        return finding("learned model", False, str(error), "install aiida-hardcoat anew", needed=False)
    detail = f"{model['name']} {model['version']}, weights sha256 {model['sha256'][:16]}"
    return finding("learned model", True, detail, needed=False)
