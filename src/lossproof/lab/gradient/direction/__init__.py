"""Where an objective has its minimum: at the targets, or where predictions leave them.

A loss that compares predictions with targets says so itself: it has the same value for every perfect prediction,
whatever the targets are. That such a value is not the lowest, that the lowest is reached by predictions which do not
follow the targets at all, is what makes it wrong. A loss whose minimum lies elsewhere by design (smoothed labels, logits,
rates, margins, distances of pairs) has no such common value, or keeps to its targets on the way.
"""
