"""Experiments on the shapes of targets and predictions, and on what a loss reduces."""
