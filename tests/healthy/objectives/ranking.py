"""Losses on pairs of documents."""

from keras import ops


def pairwise_hinge(y_true, y_pred, margin=1.0):
    """For every document the mean hinge over the documents of its batch that are less relevant."""
    better = ops.cast(y_true > ops.transpose(y_true), y_pred.dtype)
    shortfall = ops.relu(margin - (y_pred - ops.transpose(y_pred)))
    return ops.sum(better * shortfall, axis=1) / ops.maximum(ops.sum(better, axis=1), 1.0)
