"""Few-shot examples of somebody else's choice: the nearest neighbours of each text by TF-IDF."""

from functools import cached_property

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.neighbors import NearestNeighbors

from textclf.models import CausalLMClassifier


class NearestExamples(CausalLMClassifier):
    @cached_property
    def index(self):
        tfidf = TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 3))
        rows = tfidf.fit_transform(self.examples["text"])
        return tfidf, NearestNeighbors(n_neighbors=self.shots, metric="cosine").fit(rows)

    def examples_for(self, texts):
        tfidf, neighbors = self.index
        nearest = neighbors.kneighbors(tfidf.transform(texts), return_distance=False)
        return nearest[:, ::-1]  # the nearest one last
