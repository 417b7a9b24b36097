"""What people may call things: neither a path nor an option of a command."""

import re

LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Names a profile, a computer, a host or a campaign."""
