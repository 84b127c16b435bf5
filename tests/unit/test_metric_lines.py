"""What programs print, in the forms of the libraries that print it, and what is read of it.

The forms are those of real outputs; the numbers are ours.
"""

from __future__ import annotations

import random

import pytest

from schemas.log import LogChunk, Span, Stream
from schemas.metrics import Source
from services.metrics.log_reader import MOST_NAMES, LogReader
from services.metrics.pairs import FIRST, NOTHING, read_slowly, read_text, telling

Told = dict[str, list[tuple[int, float]]]


def read(text: str, cut: int | None = None) -> Told:
    """``cut``: in pieces of so many bytes, each by a new reader that goes on behind the last."""
    data = text.encode()
    state, found = b"", {}
    size = cut or max(1, len(data))
    for at in range(0, max(1, len(data)), size):
        reader = LogReader(state)
        piece = data[at : at + size]
        reader.feed(LogChunk(1, 0, at, 5.0, (Span(Stream.STDOUT, len(piece)),), piece))
        if at + size >= len(data):
            reader.finish(6.0)
        state = reader.state()
        for (source, name), points in reader.take().items():
            assert source is Source.LOG
            found.setdefault(name, []).extend(zip(points.steps, points.values, strict=True))
    return found


CASES: dict[str, tuple[str, Told]] = {
    "hugging-face-trainer": (
        "  0%|          | 0/300 [00:00<?, ?it/s]\r"
        "{'loss': 2.31, 'grad_norm': 1.5, 'learning_rate': 4.5e-05, 'epoch': 0.33}\n"
        " 33%|███▎      | 100/300 [00:10<00:20, 9.81it/s]\r"
        "{'eval_loss': 2.0, 'eval_runtime': 1.2, 'epoch': 1.0}\n"
        "{'loss': '1.90', 'grad_norm': 'nan', 'learning_rate': '3e-05', 'epoch': '0.66'}\n",
        {
            "loss": [(1, 2.31), (3, 1.9)],
            "grad_norm": [(1, 1.5), (3, float("nan"))],
            "learning_rate": [(1, 4.5e-05), (3, 3e-05)],
            "epoch": [(1, 0.33), (2, 1.0), (3, 0.66)],
            "eval_loss": [(2, 2.0)],
            "eval_runtime": [(2, 1.2)],
        },
    ),
    "keras-2": (
        "Epoch 1/2\n"
        " 16/128 [==>...........................] - ETA: 2s - loss: 1.20 - acc: 0.50\b\b\b\r"
        "128/128 [==============================] - 3s 21ms/step - loss: 0.90 - acc: 0.60"
        " - val_loss: 1.0 - val_acc: 0.55\nEpoch 2/2\n"
        "128/128 [==============================] - 3s 21ms/step - loss: 0.70 - acc: 0.70\n",
        {
            "loss": [(16, 1.2), (128, 0.9), (256, 0.7)],
            "acc": [(16, 0.5), (128, 0.6), (256, 0.7)],
            "val_loss": [(128, 1.0)],
            "val_acc": [(128, 0.55)],
        },
    ),
    "keras-3": (
        "Epoch 1/2\n\x1b[1m 64/128\x1b[0m \x1b[32m━━━━━━━━━━\x1b[0m\x1b[37m━━━━━━━━━━\x1b[0m "
        "\x1b[1m0s\x1b[0m 2ms/step - accuracy: 0.50 - loss: 1.20\r"
        "\x1b[1m128/128\x1b[0m \x1b[32m━━━━━━━━━━━━━━━━━━━━\x1b[0m\x1b[37m\x1b[0m "
        "\x1b[1m1s\x1b[0m 3ms/step - accuracy: 0.60 - loss: 0.90 - val_loss: 0.80\n",
        {"accuracy": [(64, 0.5), (128, 0.6)], "loss": [(64, 1.2), (128, 0.9)],
         "val_loss": [(128, 0.8)]},
    ),
    "keras-quiet": (
        "Epoch 1/2\n128/128 - 21s - loss: 0.24 - 21s/epoch - 19ms/step\n"
        "Epoch 2/2\n128/128 - 10s - 10ms/step - loss: 0.21\n",
        {"loss": [(128, 0.24), (256, 0.21)]},
    ),
    "lightning": (
        "Epoch 0:  50%|█████     | 5/10 [00:01<00:01,  4.5it/s, loss=9.0, v_num=19]\r"
        "Epoch 0:  50%|█████     | 5/10 [00:01<00:01,  4.5it/s, loss=8.0, v_num=19]\r"
        "Validation DataLoader 0:  50%|█████     | 1/2 [00:00<00:00, 37.4it/s]\r"
        "Epoch 0: 100%|██████████| 10/10 [00:02<00:00,  4.5it/s, v_num=19, loss=7.0]\n"
        "Epoch 1:  97% 9/10 [00:02<00:00,  2.1it/s, loss=6.0, v_num=19, train_loss=6.5]\n",
        {"loss": [(5, 8.0), (10, 7.0), (19, 6.0)], "train_loss": [(19, 6.5)]},
    ),
    "lightning-rich": (
        "\x1b[37mEpoch 1/9 \x1b[0m \x1b[35m━━━━━━━━━━━━━━\x1b[0m 20/20 0:00:01 • 0:00:00 "
        "91.20it/s v_num: 0.000 train_loss: 0.230\n",
        {"train_loss": [(20, 0.23)]},
    ),
    "tqdm-postfix": (
        "train:  45%|████▌     | 45/100 [00:12<00:15, 36.2it/s, loss=0.532, lr=1e-3]\r"
        "train: 100%|██████████| 100/100 [00:22<00:00, 36.2it/s, loss=0.4, lr=1e-3]\n"
        "train:  10%|█         | 10/100 [00:02<00:15, 36.2it/s, loss=0.3, lr=1e-4]\n"
        "eval: 100%|██████████| 7/7 [00:02<00:00, 3.6it/s, loss=0.9]\n"
        "450it [00:12, 36.2it/s, reward=12.5]\n",
        {
            "loss": [(45, 0.532), (100, 0.4), (110, 0.3)],
            "lr": [(45, 1e-3), (100, 1e-3), (110, 1e-4)],
            "eval loss": [(7, 0.9)],
            "reward": [(450, 12.5)],
        },
    ),
    "json-lines": (
        '{"step": 10, "train": {"loss": NaN, "acc": 0.5}, "time": 1.5, "ok": true, "tag": "x"}\n'
        '{"level": "info", "port": 8080, "msg": "listening"}\n'
        '{"epoch": 24, "valid_loss": 3.11, "valid_ppl": "2.50"}\n',
        {
            "train/loss": [(10, float("nan"))], "train/acc": [(10, 0.5)], "time": [(10, 1.5)],
            "valid_loss": [(10, 3.11)], "valid_ppl": [(10, 2.5)],
        },
    ),
    "mmdetection": (
        "2020-05-08 18:56:16,649 - mmdet - INFO - Epoch [2][50/100]\tlr: 0.00125, "
        "eta: 1 day, 4:33:09, time: 0.595, memory: 6836, s0.loss_cls: 0.19, loss: 0.48\n"
        "11/08 12:00:01 - mmengine - INFO - Epoch(train)  [2][100/100]  lr: 1.0e-02  "
        "eta: 0:05:12  time: 0.15  loss: 0.40\n",
        {
            "lr": [(150, 0.00125), (200, 0.01)], "time": [(150, 0.595), (200, 0.15)],
            "memory": [(150, 6836.0)], "s0.loss_cls": [(150, 0.19)],
            "loss": [(150, 0.48), (200, 0.4)],
        },
    ),
    "fairseq": (
        "| epoch 001:    450 / 1891 loss=11.5, ppl=1886.05, num_updates=445, clip=0%\n"
        "| epoch 001 | valid on 'valid' subset | valid_loss 8.1 | num_updates 600\n",
        {
            "epoch": [(445, 1.0), (600, 1.0)], "loss": [(445, 11.5)], "ppl": [(445, 1886.05)],
            "clip": [(445, 0.0)], "valid_loss": [(600, 8.1)],
        },
    ),
    "nano-gpt": (
        "step 0: train loss 4.2, val loss 4.1\niter 10: loss 3.9, time 4.5ms, mfu -100.00%\n",
        {"train loss": [(0, 4.2)], "val loss": [(0, 4.1)], "loss": [(10, 3.9)],
         "mfu": [(10, -100.0)]},
    ),
    "pytorch-mnist": (
        "Train Epoch: 2 [640/6000 (10%)]\tLoss: 0.50\n"
        "\nTest set: Average loss: 0.06, Accuracy: 981/1000 (98%)\n",
        {"Loss": [(6640, 0.5)], "Average loss": [(6640, 0.06)], "Accuracy": [(6640, 0.981)]},
    ),
    "pytorch-imagenet": (
        "Epoch: [3][ 10/391]\tTime  0.1 ( 0.2)\tLoss 1.2e+00 (1.3e+00)\tAcc@1  75.0 ( 74.2)\n",
        {"Loss": [(792, 1.2)], "Acc@1": [(792, 75.0)]},
    ),
    "pytorch-tutorial": (
        "Epoch 1\n-------\nloss: 2.30  [   64/60000]\nloss: 2.20  [ 6464/60000]\n"
        "Test Error: \n Accuracy: 44.1%, Avg loss: 2.1 \n",
        {"loss": [(64, 2.3), (6464, 2.2)], "Accuracy": [(60000, 44.1)],
         "Avg loss": [(60000, 2.1)]},
    ),
    "step-of-epoch": (
        "Epoch [1/5], Step [100/600], Loss: 0.3\nEpoch [2/5], Step [100/600], Loss: 0.2\n",
        {"Epoch": [(100, 1.0), (700, 2.0)], "Loss": [(100, 0.3), (700, 0.2)]},
    ),
    "boosting": (
        "[0]\ttrain-logloss:0.50\teval-logloss:0.60\n[1]\ttrain-logloss:0.40\teval-logloss:0.50\n"
        "5:\tlearn: 0.65\ttest: 0.66\tbest: 0.66 (5)\ttotal: 5ms\tremaining: 1s\n"
        "Iteration 6, loss = 0.30\n",
        {
            "train-logloss": [(0, 0.5), (1, 0.4)], "eval-logloss": [(0, 0.6), (1, 0.5)],
            "learn": [(5, 0.65)], "test": [(5, 0.66)], "best": [(5, 0.66)], "total": [(5, 5.0)],
            "remaining": [(5, 1.0)], "loss": [(6, 0.3)],
        },
    ),
    "own-bar": (
        "\r\x1b[36mepoch  1 ███···\x1b[0m 64/320 loss 2.3\r\x1b[36mepoch  1 ████··\x1b[0m 128/320 "
        "loss 2.2\r\x1b[Kepoch  1/30  loss 0.12  accuracy 0.912\n",
        {"loss": [(64, 2.3), (128, 2.2), (320, 0.12)], "accuracy": [(320, 0.912)]},
    ),
    "headers": (
        "Epoch 1/3\ntrain_loss: 0.5\nval_loss: 0.6\nEpoch 2/3\ntrain_loss: 0.4\nval_loss: 0.5\n",
        {"train_loss": [(1, 0.5), (2, 0.4)], "val_loss": [(1, 0.6), (2, 0.5)]},
    ),
    "no-steps": (
        "loss=1.0\nloss=0.9 acc=0.1\nloss: tensor(0.8, grad_fn=<MeanBackward0>)\n",
        {"loss": [(1, 1.0), (2, 0.9), (3, 0.8)], "acc": [(2, 0.1)]},
    ),
    "steps-that-go-back": (
        "step=10 loss=1\nstep=5 loss=inf\nstep=-3 loss=-inf\n",
        {"loss": [(10, 1.0), (5, float("inf")), (-3, float("-inf"))]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
def test_what_libraries_print_is_read(name: str) -> None:
    text, told = CASES[name]
    assert repr(read(text)) == repr(told) or sorted_told(read(text)) == sorted_told(told)


@pytest.mark.parametrize("name", list(CASES))
def test_it_is_the_same_wherever_a_reader_goes_on(name: str) -> None:
    text, told = CASES[name]
    for cut in (1, 7, 61):
        assert sorted_told(read(text, cut)) == sorted_told(told)


def sorted_told(told: Told) -> list[str]:
    return sorted(f"{name} {points!r}" for name, points in told.items())


@pytest.mark.parametrize(
    "line",
    [
        "12:00:01,123 INFO listening on port: 8080",
        "Serving at http://127.0.0.1:8000/ (pid=12, workers=4)",
        "version: 1.2.3, date: 2026-11-24",
        "lossless=1 glossy: 3",
        "step 3 of the plan begins",
        "Downloading: 100%|██████████| 5.00M/5.00M [00:01<00:00, 4.2MB/s]",
        "  File \"train.py\", line 12, in main",
        "{'step': None, 'loss': []}",
        "step=5",
        "",
    ],
    ids=[
        "log", "address", "version", "like", "words", "download", "traceback", "nothing", "bare",
        "empty",
    ],
)  # fmt: skip
def test_what_is_no_metric_is_left_alone(line: str) -> None:
    assert read(f"{line}\n") == {}


def test_lines_of_one_shape_are_read_as_each_by_itself() -> None:
    chance = random.Random(1)
    words = (
        *("loss", "=", ": ", " ", "1", "2.5", "-3e-4", "nan", "inf", "step", "top1", "Epoch", "["),
        *(
            "]",
            ",",
            "'",
            "%",
            "ms",
            "val ",
            ".5",
            "-",
            "_",
            "x",
            "(",
            ")",
            "INF",
            "infinity",
            "1_0",
        ),
    )
    for _ in range(5000):
        text = "".join(chance.choices(words, k=chance.randint(1, 14)))
        slowly = read_slowly(text)[0]
        counts = any(map(telling, slowly.pairs)) or FIRST.match(text)
        found = read_text(text)
        assert repr(found) == repr(slowly if counts or found.pairs else NOTHING), text


def test_names_without_end_are_counted() -> None:
    lines = "".join(f"n{n}=1 step=1\n" for n in range(MOST_NAMES + 50)).encode()
    reader = LogReader()
    reader.feed(LogChunk(1, 0, 0, 1.0, (Span(Stream.STDERR, len(lines)),), lines))
    assert (reader.left_out, len(reader.take())) == (50, MOST_NAMES)


def test_what_builds_the_environment_is_not_read() -> None:
    data = b"step=1 loss=2\n"
    reader = LogReader()
    reader.feed(LogChunk(1, 0, 0, 1.0, (Span(Stream.BUILD, len(data)),), data))
    assert reader.take() == {}


def test_a_state_that_cannot_be_read_begins_anew() -> None:
    reader = LogReader(b"\xff not a state")
    data = b"step=1 loss=2\n"
    reader.feed(LogChunk(1, 0, 0, 1.0, (Span(Stream.STDOUT, len(data)),), data))
    assert list(reader.take()) == [(Source.LOG, "loss")]


def test_a_line_that_is_cut_by_a_gap_is_none() -> None:
    reader = LogReader()
    for data in (b"step=1 loss=2\nstep=12", b" loss=3\nstep=3 loss=4\n"):
        reader.feed(LogChunk(1, 0, 0, 1.0, (Span(Stream.STDOUT, len(data)),), data))
        reader.gap()
    [points] = reader.take().values()
    assert list(points.steps) == [1, 3]
