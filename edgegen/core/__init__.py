"""Frozen values, their strict codec, errors and file handling; standard library only."""
