"""What lives for one run: its folder, checkpoints, loggers, callbacks and report."""

from textclf.class_paths import lazy_exports

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "textclf.run.calibration": "Calibration",
        "textclf.run.callbacks": "BestCheckpoint ConfigWriter LastCheckpoint PredictionStream RandomStates "
        "WholeCheckpointIO default_callbacks",
        "textclf.run.experiment": "Experiment run_experiment",
        "textclf.run.extra_metrics": "ExtraMetrics",
        "textclf.run.loggers": "MetricsCSV WandbRunLogger",
        "textclf.run.monitors": "HeapTrimmer",
        "textclf.run.progress": "ProgressLines",
        "textclf.run.report": "ReportWriter",
        "textclf.run.temperature": "TemperatureScaling",
        "textclf.run.thresholds": "TunedThresholds",
        "textclf.run.tracking": "CleaningRecord ReportRecord TrainingSpeed",
    },
)
