"""Adapters: small files of what was learned on top of a model, added while its weights stream."""
