"""Which words make a number in a log a step, or a metric? Data; all in lower case."""

from __future__ import annotations

STEPS = frozenset(
    {
        *("step", "steps", "_step", "global_step", "global step", "globalstep", "train_step"),
        *("trainer/global_step", "training_step", "num_updates", "update", "updates"),
        *("iteration", "iterations", "iter", "iters", "it", "itr", "round"),
        *("timestep", "timesteps", "total_timesteps", "num_timesteps"),
    }
)
"""They count on through a whole run."""
BATCHES = frozenset({"batch", "batch_idx", "batch_index", "minibatch", "batches"})
"""They begin again with each epoch."""
EPOCHS = frozenset({"epoch", "epochs", "ep"})
METRICS = frozenset(
    {
        *(
            "loss",
            "losses",
            "nll",
            "bce",
            "ce",
            "mse",
            "rmse",
            "mae",
            "mape",
            "logloss",
            "mlogloss",
        ),
        *("acc", "accuracy", "precision", "recall", "f1", "auc", "auroc", "auprc", "merror", "top"),
        *("iou", "miou", "dice", "ap", "bleu", "rouge", "wer", "cer", "ppl", "perplexity", "bpb"),
        *("lr", "learning", "grad", "gradient", "reward", "kl", "entropy", "elbo", "mfu", "score"),
        *("psnr", "ssim", "fid", "lpips", "objective", "fitness", "regret"),
    }
)
"""A line with a name that has one of these words counts without a step."""
SPACED = (METRICS - {"top", "learning", "score", "objective"}) | STEPS | BATCHES | EPOCHS
"""What may be followed by its number without ``=`` or ``:``."""
QUALIFIERS = frozenset(
    {
        *("train", "training", "val", "valid", "validation", "test", "testing", "eval", "dev"),
        *("avg", "average", "mean", "total", "best", "running", "learning", "global", "grad"),
        *("gradient", "learn", "evaluation"),
    }
)
"""Words before a name that belong to it: ``val loss: 0.5``."""
SETS = frozenset(
    {"val", "valid", "validation", "validating", "test", "testing", "eval", "evaluation", "dev"}
)
"""Of a progress bar: what it shows is not of the training."""
IGNORED = frozenset(
    {
        *("eta", "v_num", "version", "pid", "port", "seed", "rank", "local_rank", "world_size"),
        *("timestamp", "ts", "asctime", "created", "msecs", "lineno", "line", "process", "thread"),
        *("levelno", "id", "elapsed_since", "relativecreated", "http", "https", "gpu_id"),
    }
)
"""Numbers that are none of the program's course."""
