"""Why some mutants survive: what the checks cannot know, or do not look for. By operator, and original where it matters."""

from __future__ import annotations

CUT_OFF = (
    "with predictions on the targets the loss is no lower than where they are, so nothing says what would be right"
)

REASONS: dict[tuple[str, str], str] = {
    (
        "",
        "by-the-batch",
    ): "targets that occur twice (counts) may be labels, and weights from labels of the batch are meant",
    (
        "binary_focal",
        "output-flipped",
    ): "Keras leaves the focusing factor unclipped: predictions outside of 0 and 1 are drawn "
    "back, and the minimum stays at the labels",
    (
        "detection",
        "",
    ): "several targets in one tensor, each read in its own way: nothing says what a right prediction is",
    ("grades", "sign-turned"): "ranks against thresholds: nothing says what a right prediction is",
    ("judged", "flattened"): "a batch of four rows: too few wrong predictions without a gradient",
    ("mixture", "flattened"): "parameters of a distribution: nothing says which values would be right",
    (
        "own_step",
        "plain-logs",
    ): "the step has no compiled loss, and reports more than it differentiates, as one does that "
    "divides by the number of accumulated steps",
    ("contrastive_batch", "sign-turned"): "no targets: nothing says which way is right",
    ("denoiser", ""): "the objective reads the targets in code of its own, beside noise that it draws",
    ("generator", "sign-turned"): "no targets: nothing says which way is right",
    (
        "keras_cosine",
        "one-column",
    ): "each row is brought to length 1: one target repeated would be another loss, so nothing shows the repetition",
    ("cosine", "one-column"): "each row is brought to length 1: one target repeated would be another loss",
    (
        "keras_cosine",
        "output-activation",
    ): "at a prediction of length 0 the gradient is NaN on PyTorch, and the relu behind it hides that",
    (
        "segmentation",
        "epsilon-too-small",
    ): "as without an epsilon: predictions of exactly 0 come long after the sigmoid's slope has ended the training",
    ("triplets", "sign-turned"): "no targets: nothing says which way is right",
    ("distance", "flattened"): CUT_OFF,
    ("keras_huber_own", "flattened"): CUT_OFF,
    ("log_cosh_own", "flattened"): CUT_OFF,
    ("mae_own", "flattened"): CUT_OFF,
    (
        "segmentation",
        "epsilon-dropped",
    ): "an empty mask under predictions of exactly 0, which a sigmoid gets to long after its slope has ended the training",
    ("siamese", ""): "labels may mean likeness or difference; either is a healthy loss",
    ("smoothed_logits", "swapped"): "logits have no place in which the exchanged loss would have a minimum",
    ("soft_targets", "sign-turned"): "shares against logits at a temperature: nothing says which logits would be right",
    ("spelling", ""): "sequences of letters: nothing says what a right prediction is",
    ("", "term-dropped"): "what is left is an objective as well; that weights are left out may be meant",
}
"""The first part is the beginning of an original's name, the second an operator; empty where any."""


def reason(subject: str, operator: str) -> str:
    """What is known of why a mutant is not named; empty where nothing is."""
    fitting = [key for key in REASONS if subject.startswith(key[0]) and key[1] in ("", operator)]
    return REASONS[max(fitting, key=lambda key: (len(key[0]), len(key[1])))] if fitting else ""
