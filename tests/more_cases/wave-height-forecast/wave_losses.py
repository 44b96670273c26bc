from keras import ops


def gaussian_nll(y_true, y_pred):
    """Negative log likelihood of a normal distribution with mean and log variance as outputs."""
    mean = y_pred[:, 0]
    log_var = y_pred[:, 1]
    return 0.5 * (log_var + ops.square(y_true - mean) * ops.exp(-log_var))
