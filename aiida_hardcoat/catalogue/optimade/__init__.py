"""The catalogue in the words of OPTIMADE: structure resources with provider fields, files to share, a server."""
