"""Strategies that weigh all terms of an objective against each other."""

from lossproof.objective.weighting.base import Weighting
from lossproof.objective.weighting.cagrad import CAGrad
from lossproof.objective.weighting.dynamic_weight_average import DynamicWeightAverage
from lossproof.objective.weighting.geometric_mean import GeometricMean
from lossproof.objective.weighting.gradnorm import GradNorm
from lossproof.objective.weighting.mgda import MGDA
from lossproof.objective.weighting.pcgrad import PCGrad
from lossproof.objective.weighting.random_loss_weighting import RandomLossWeighting
from lossproof.objective.weighting.uncertainty import Uncertainty
from lossproof.objective.weighting.upgrad import UPGrad

DWA = DynamicWeightAverage

__all__ = [
    "DWA",
    "MGDA",
    "CAGrad",
    "DynamicWeightAverage",
    "GeometricMean",
    "GradNorm",
    "PCGrad",
    "RandomLossWeighting",
    "UPGrad",
    "Uncertainty",
    "Weighting",
]
