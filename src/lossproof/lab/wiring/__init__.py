"""Experiments on what `compile` and `fit` connect: losses, outputs, targets, weights, masks, modes."""
