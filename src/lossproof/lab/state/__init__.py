"""Experiments on what lasts beyond a step: metrics, reports, optimizers, weights."""
