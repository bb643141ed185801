"""Chooses the smallest package that meets a device's limits, and says why."""
