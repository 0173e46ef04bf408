from textclf.data.base import TextDataModule
from textclf.data.bbc_news import BBCNewsDataModule
from textclf.data.files import FilesDataModule
from textclf.data.nsmc import NSMCDataModule
from textclf.data.rotten_tomatoes import RottenTomatoesDataModule

__all__ = [
    "BBCNewsDataModule",
    "FilesDataModule",
    "NSMCDataModule",
    "RottenTomatoesDataModule",
    "TextDataModule",
]
