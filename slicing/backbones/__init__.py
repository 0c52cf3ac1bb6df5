"""Networks below the cut: pretrained or a user's own, frozen, as ONNX graphs."""

from slicing.backbones.backbone import Backbone

__all__ = ["Backbone"]
