"""Metrics, and the parity gate that compares a package with what torch computed."""
