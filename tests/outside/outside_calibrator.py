"""A calibrator of somebody else's: vector scaling (Guo et al., 2017, https://arxiv.org/abs/1706.04599)."""

import numpy as np
from scipy.optimize import minimize

from textclf.evaluation.calibration import Calibrator, log_softmax


class VectorScaling(Calibrator):
    def fit(self, scores, labels):
        classes = scores.shape[1]
        scores = np.maximum(scores, -50)

        def loss(parameters):
            scaled = log_softmax(scores * parameters[:classes] + parameters[classes:])
            return -scaled[np.arange(len(labels)), labels].mean() + 1e-3 * (parameters**2).sum()

        found = minimize(loss, np.repeat([1.0, 0.0], classes)).x
        self.scale, self.bias = found[:classes], found[classes:]
        return self

    def apply(self, scores):
        return log_softmax(np.maximum(scores, -50) * self.scale + self.bias)
