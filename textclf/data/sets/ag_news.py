"""AG News."""

from textclf.data.base import TextDataModule
from textclf.data.cleaning import HONEST, TIDY, DecodeHTML, JoinLines


class AGNewsDataModule(TextDataModule):
    """AG News: titles and first sentences of English news in four topics (Zhang et al., 2015).

    120,000 train and 7,600 test texts, as many of each topic. They are full of remains of HTML, which the recipe
    decodes. Source: http://www.di.unipi.it/~gulli/AG_corpus_of_news_articles.html (for research, not for profit);
    https://arxiv.org/abs/1509.01626.
    """

    label_names = ("World", "Sports", "Business", "Sci/Tech")
    hub_id = "fancyzhx/ag_news"
    hub_revision = "eb185aade064a813bc0b7f42de02595523103ca4"
    recipe = (*TIDY[:-1], DecodeHTML(), JoinLines(), TIDY[-1], *HONEST)
