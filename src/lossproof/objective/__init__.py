"""Losses of any arguments under plain `compile` / `fit`: terms -> Objective -> Trainer.compute_loss -> logs."""
