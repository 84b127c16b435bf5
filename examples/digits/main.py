"""Trains a small neural network to read handwritten digits and saves it."""

import argparse
import os
import pickle
import sys
import time
from pathlib import Path

EPOCHS = 30
BATCH = 64


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--hidden", type=int, default=512, help="neurons of the hidden layer")
    parser.add_argument("--rate", type=float, default=0.001, help="learning rate")
    return parser.parse_args()


def shifted(images, labels):
    """The images and four copies of them, each moved by one pixel: five times the data."""
    import numpy

    moved = [numpy.roll(images, step, axis) for axis in (1, 2) for step in (-1, 1)]
    return numpy.concatenate([images, *moved]), numpy.concatenate([labels] * 5)


def digits():
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    train, test, train_labels, test_labels = train_test_split(
        data.images / 16.0, data.target, test_size=0.25, random_state=1, stratify=data.target
    )
    train, train_labels = shifted(train, train_labels)
    return train.reshape(len(train), -1), train_labels, test.reshape(len(test), -1), test_labels


def bar(epoch, done, total, loss):
    """One line that is drawn over and over, as tqdm does."""
    filled = 30 * done // total
    blocks = "█" * filled + "·" * (30 - filled)
    sys.stdout.write(f"\r\033[36mepoch {epoch:2d} {blocks}\033[0m {done}/{total} loss {loss:.4f}")
    sys.stdout.flush()


def train_epoch(model, images, labels, epoch, generator):
    import numpy

    order = generator.permutation(len(images))
    drawn = total = 0.0
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        model.partial_fit(images[batch], labels[batch], classes=numpy.arange(10))
        total += model.loss_ * len(batch)
        if time.monotonic() - drawn > 0.1:
            drawn = time.monotonic()
            bar(epoch, start + len(batch), len(order), model.loss_)
    sys.stdout.write("\r\033[K")
    sys.stdout.flush()
    return total / len(order)


def main():
    options = arguments()
    print("Reading the digits …", flush=True)
    import numpy
    from sklearn.neural_network import MLPClassifier

    images, labels, test_images, test_labels = digits()
    print(f"{len(images)} images to train on, {len(test_images)} to test with", flush=True)
    model = MLPClassifier((options.hidden,), learning_rate_init=options.rate, random_state=1)
    generator = numpy.random.default_rng(1)
    begun = time.monotonic()
    for epoch in range(1, options.epochs + 1):
        loss = train_epoch(model, images, labels, epoch, generator)
        accuracy = model.score(test_images, test_labels)
        print(f"epoch {epoch:2d}/{options.epochs}  loss {loss:.4f}  accuracy {accuracy:.3f}", flush=True)

    target = Path(os.environ.get("STOKER_OUTPUTS", ".")) / "digits.pickle"
    target.write_bytes(pickle.dumps(model))
    print(f"Trained in {time.monotonic() - begun:.1f} s, saved to {target}", flush=True)


if __name__ == "__main__":
    main()
