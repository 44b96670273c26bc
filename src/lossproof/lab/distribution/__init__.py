"""Experiments on several devices."""
