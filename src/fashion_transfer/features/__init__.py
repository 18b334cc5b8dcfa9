"""The frozen backbone, its weights, and the store of what it computed."""

from fashion_transfer.features.backbone import Backbone
from fashion_transfer.features.extractor import Extractor
from fashion_transfer.features.store import FeatureStore
from fashion_transfer.features.table import FeatureTable
from fashion_transfer.features.trainable_stages import TrainableStages
from fashion_transfer.features.weights import load_weights

__all__ = [
    "Backbone",
    "Extractor",
    "FeatureStore",
    "FeatureTable",
    "TrainableStages",
    "load_weights",
]
