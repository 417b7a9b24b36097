"""Sphinx configuration. Building needs no AiiDA profile and leaves the user's own AiiDA folder alone."""

import os
import sys
import tempfile
import warnings
from pathlib import Path

# Before AiiDA is imported: it makes its folder at import.
_aiida_folder = tempfile.TemporaryDirectory(prefix="hardcoat-docs-")
os.environ["AIIDA_PATH"] = _aiida_folder.name
warnings.filterwarnings("ignore", message="Creating AiiDA configuration folder")

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from aiida_hardcoat import __version__  # noqa: E402

project = "aiida-hardcoat"
author = "The aiida-hardcoat developers"
copyright = "2026, the aiida-hardcoat developers"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_click",
    "sphinx_copybutton",
    "hardcoat_reference",
]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "_ext", "_static"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
smartquotes = False  # "--system" is an option, not a dash

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"

# Prompts are not copied; lines of output are.
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"aiida-hardcoat {version}"
html_static_path = ["_static"]
