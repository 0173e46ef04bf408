"""A loss of somebody else's: focal loss (Lin et al., 2017, https://arxiv.org/abs/1708.02002)."""

from textclf.models import FineTunedClassifier


class FocalLoss(FineTunedClassifier):
    def __init__(self, *args, gamma: float = 2.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.gamma = gamma

    def loss(self, logits, labels):
        log_p = logits.log_softmax(-1).gather(1, labels[:, None])
        return -((1 - log_p.exp()) ** self.gamma * log_p).mean()
