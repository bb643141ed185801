"""Writes OpenVINO's IR: a captured graph over a table of operators, streamed weights."""
