"""The files of a run folder, without figures and page, which runs of tests leave out."""

REPORT = ["metrics.json", "predictions.parquet", "report.txt", "run.json"]
"""Of each report; those of TF-IDF and linear probes also have `WEIGHTS`."""
WEIGHTS = "weights.json"


def run_files(*more):
    """The files of a run that has validation rows, with further files of both reports."""
    report = sorted([*REPORT, *more])
    return [
        *("checkpoints/best.ckpt", "checkpoints/last.ckpt", "cleaning.csv", "config.yaml", "metrics.csv"),
        *sorted([f"report/{name}" for name in report] + [f"report/validation/{name}" for name in report]),
    ]
