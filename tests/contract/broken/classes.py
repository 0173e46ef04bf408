"""Classes that fail when they are made, or are of another kind."""

from torch import nn

from tests.contract.basis import Forecasts, Uniform


class Fails(Uniform):
    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        self.size = {}["size"]


class RaisesValueError(Uniform):
    def __init__(self, num_classes, label_names, depth: int = 3):
        super().__init__(num_classes, label_names)
        raise ValueError(f"depth {depth} is odd")


class WrongCall(Uniform):
    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names, 3)


class ImportsLater(Uniform):
    def __init__(self, num_classes, label_names):
        super().__init__(num_classes, label_names)
        import surely_not_installed_anywhere  # noqa: F401


class FailingData(Forecasts):
    def __init__(self, eval_batch_size: int = 8):
        super().__init__(eval_batch_size=eval_batch_size)
        self.size = {}["size"]


class Network(nn.Module):
    def __init__(self, num_classes, label_names):
        super().__init__()


def function(num_classes, label_names):
    return Uniform(num_classes, label_names)
