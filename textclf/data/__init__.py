from textclf.data.base import TextDataModule
from textclf.data.cleaning import (
    DecodeHTML,
    DropEmpty,
    DropNearOverlap,
    DropNearRepeats,
    DropOverlap,
    DropRepeats,
    DropUnknownLabels,
    JoinLines,
    NormalizeUnicode,
    RemoveControlCharacters,
    ResolveConflicts,
    RowStep,
    StripWhitespace,
    TextStep,
)
from textclf.data.contract import ExampleRequest
from textclf.data.files import FilesDataModule
from textclf.data.sets.ag_news import AGNewsDataModule
from textclf.data.sets.banking77 import Banking77DataModule
from textclf.data.sets.bbc_news import BBCNewsDataModule
from textclf.data.sets.emotion import EmotionDataModule
from textclf.data.sets.klue_nli import KLUENLIDataModule
from textclf.data.sets.kor_3i4k import Kor3i4kDataModule
from textclf.data.sets.kor_hate import KorHateDataModule
from textclf.data.sets.kor_sae import KorSAEDataModule
from textclf.data.sets.kor_sarcasm import KorSarcasmDataModule
from textclf.data.sets.nsmc import NSMCDataModule
from textclf.data.sets.rotten_tomatoes import RottenTomatoesDataModule
from textclf.data.sets.ynat import YNATDataModule

__all__ = [
    "AGNewsDataModule",
    "BBCNewsDataModule",
    "Banking77DataModule",
    "DecodeHTML",
    "DropEmpty",
    "DropNearOverlap",
    "DropNearRepeats",
    "DropOverlap",
    "DropRepeats",
    "DropUnknownLabels",
    "EmotionDataModule",
    "ExampleRequest",
    "FilesDataModule",
    "JoinLines",
    "KLUENLIDataModule",
    "Kor3i4kDataModule",
    "KorHateDataModule",
    "KorSAEDataModule",
    "KorSarcasmDataModule",
    "NSMCDataModule",
    "NormalizeUnicode",
    "RemoveControlCharacters",
    "ResolveConflicts",
    "RottenTomatoesDataModule",
    "RowStep",
    "StripWhitespace",
    "TextDataModule",
    "TextStep",
    "YNATDataModule",
]
