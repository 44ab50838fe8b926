"""What the attention of a head is like."""

from .attention_graph import attention_graph

__all__ = ["attention_graph"]
