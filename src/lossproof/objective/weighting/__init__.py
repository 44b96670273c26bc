"""Strategies that weigh all terms of an objective against each other."""

from lossproof.objective.weighting.base import Weighting

__all__ = ["Weighting"]
