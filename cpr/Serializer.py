"""Alias of `cpr.prefect.serializer`, kept because flows import it by this name."""

from cpr.prefect.serializer import (
    CprSerializer,
    Verify,
    cpr_serializer,
    target_decoder,
    target_encoder,
)

__all__ = ["CprSerializer", "Verify", "cpr_serializer", "target_decoder", "target_encoder"]
