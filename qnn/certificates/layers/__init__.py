"""Proofs of how well a layer is quantized: the record, and the checker that proves it."""

from qnn.certificates.layers.checker import LayerProof, rows_digest, verify_layer
from qnn.certificates.layers.layout import STATES
from qnn.certificates.layers.record import (
    LayerCertificate,
    load_rows,
    save_rows,
    verify_layer_file,
)

__all__ = [
    "STATES",
    "LayerCertificate",
    "LayerProof",
    "load_rows",
    "rows_digest",
    "save_rows",
    "verify_layer",
    "verify_layer_file",
]
