"""aiida-hardcoat: hard-coating alloys whose every elastic constant can be traced to its calculation."""

__version__ = "0.1.0"
