"""What makes a folder a package: looked for before anything else is imported."""

PACKAGE_MARK = "edgegen.json"
"""The file of its manifest."""
