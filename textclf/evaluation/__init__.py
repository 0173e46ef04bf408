from textclf.evaluation.calibration import Calibrator, Temperature, Thresholds

__all__ = ["Calibrator", "Temperature", "Thresholds"]
