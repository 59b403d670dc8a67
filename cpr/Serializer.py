"""The name by which `cpr.prefect.serializer` has always been imported."""

from cpr.prefect.serializer import (
    CprSerializer,
    Verify,
    cpr_serializer,
    target_decoder,
    target_encoder,
)

__all__ = ["CprSerializer", "Verify", "cpr_serializer", "target_decoder", "target_encoder"]
