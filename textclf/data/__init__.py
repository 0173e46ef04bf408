from textclf.data.ag_news import AGNewsDataModule
from textclf.data.base import TextDataModule
from textclf.data.bbc_news import BBCNewsDataModule
from textclf.data.emotion import EmotionDataModule
from textclf.data.files import FilesDataModule
from textclf.data.korean import (
    Kor3i4kDataModule,
    KorHateDataModule,
    KorSAEDataModule,
    KorSarcasmDataModule,
    YNATDataModule,
)
from textclf.data.nsmc import NSMCDataModule
from textclf.data.rotten_tomatoes import RottenTomatoesDataModule

__all__ = [
    "AGNewsDataModule",
    "BBCNewsDataModule",
    "EmotionDataModule",
    "FilesDataModule",
    "Kor3i4kDataModule",
    "KorHateDataModule",
    "KorSAEDataModule",
    "KorSarcasmDataModule",
    "NSMCDataModule",
    "RottenTomatoesDataModule",
    "TextDataModule",
    "YNATDataModule",
]
