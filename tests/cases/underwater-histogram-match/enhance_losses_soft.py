"""Losses for the enhancement network."""
from keras import ops

BINS = 16


def histogram(images, bins=BINS):
    """Share of the pixels of each image in each of the bins between 0 and 1."""
    flat = ops.reshape(images, (-1, images.shape[1] * images.shape[2]))
    centers = (ops.arange(bins, dtype=flat.dtype) + 0.5) / bins
    z = (ops.expand_dims(flat, -1) - centers) * bins
    soft = ops.softmax(-ops.square(z), axis=-1)
    return ops.mean(soft, axis=1)


def histogram_loss(y_true, y_pred):
    return ops.sum(ops.abs(histogram(y_true) - histogram(y_pred)), axis=-1)


def pixel_loss(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred), axis=(1, 2, 3))


def make_enhancement_loss(hist_weight):
    def enhancement_loss(y_true, y_pred):
        return pixel_loss(y_true, y_pred) + hist_weight * histogram_loss(y_true, y_pred)

    return enhancement_loss
