"""Runs a Core ML program on any machine with torch: right, slow, and never to be timed."""
