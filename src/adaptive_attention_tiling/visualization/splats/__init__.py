"""Pictures of splat fields: where splats lie, when they act, what they cover and imply."""

from ..picture import Picture
from .activation import activation_picture
from .attention import attention_picture
from .coverage import coverage_picture
from .field import field_picture

__all__ = [
    "Picture",
    "activation_picture",
    "attention_picture",
    "coverage_picture",
    "field_picture",
]
