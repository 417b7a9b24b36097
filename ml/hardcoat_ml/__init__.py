"""Elastic moduli learned from ordered crystals: crystal graph convolutional networks, their data and their honesty.

Nothing here knows AiiDA. Training needs PyTorch, PyTorch Geometric and safetensors alone.
"""

VERSION = "0.1.0"
"""Stored with every model."""
