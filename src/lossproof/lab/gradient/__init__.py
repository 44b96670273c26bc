"""Experiments on gradients: their truth, their absence, where they are not finite and where they lead."""
