"""Devices: what is known of them, and how they are reached."""
