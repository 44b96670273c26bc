"""Experiments on files."""
