# backends: tensorflow, jax, torch
"""Learning to rank: all pairs of a batch, (B, 1) against (1, B), on purpose."""

import argparse
import sys

import numpy as np
import keras
from keras import layers

from objectives.ranking import pairwise_hinge


def make_documents(n, seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 7)).astype("float32")
    relevance = np.clip(np.round(1.5 + features[:, :1] - 0.5 * features[:, 4:5]), 0, 4)
    return features, relevance.astype("float32")


def main():
    parser = argparse.ArgumentParser(description="Trains a ranker.")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--docs-per-query", type=int, default=40)
    args = parser.parse_args()

    keras.utils.set_random_seed(4)
    x, y = make_documents(400, 4)
    model = keras.Sequential([layers.Input((7,)), layers.Dense(16, activation="relu"), layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=pairwise_hinge)
    # the documents of a query stay together
    history = model.fit(x, y, batch_size=args.docs_per_query, epochs=args.epochs, shuffle=False, verbose=0)
    print("loss", np.round(history.history["loss"], 3))
    scores = model.predict(x, verbose=0)
    print("rank correlation %.3f" % np.corrcoef(scores[:, 0], y[:, 0])[0, 1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
