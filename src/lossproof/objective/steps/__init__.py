"""Train steps of strategies that need the gradient of each term: one file per backend, the only ones that know it."""
