"""A run: its folder, checkpoints, loggers, callbacks and report.

Callbacks and loggers are exported here, and named by these paths in configurations.
"""

from textclf.classes.paths import lazy_exports

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "textclf.run.attributions": "TokenAttributions",
        "textclf.run.calibration": "Calibration TemperatureScaling TunedThresholds",
        "textclf.run.cartography": "DatasetCartography",
        "textclf.run.checkpoints": "BestCheckpoint LastCheckpoint RandomStates AtomicCheckpointIO",
        "textclf.run.defaults": "default_callbacks",
        "textclf.run.experiment": "Experiment run_experiment",
        "textclf.run.extra_metrics": "ExtraMetrics",
        "textclf.run.folder": "ConfigWriter",
        "textclf.run.loggers": "MetricsCSV WandbRunLogger",
        "textclf.run.monitors": "CleaningRecord HeapTrimmer TrainingSpeed",
        "textclf.run.prediction_stream": "PredictionStream",
        "textclf.run.progress": "ProgressLines",
        "textclf.run.report": "ReportRecord ReportWriter",
        "textclf.run.report_figures": "ReportFigures",
        "textclf.run.report_page": "ReportPage",
    },
)
