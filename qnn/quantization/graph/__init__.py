"""A trained network as an ONNX model: read, run in numpy forwards and backwards, written as QDQ.

`reading` (from ModelProto to layers and other nodes), `operators` (their arithmetic), `execution`
(forward, backward), `channels` (what may be reordered or left out), `export` (grouped INT2/4/8
weights that onnxruntime runs).
"""

__all__ = ["channels", "execution", "export", "operators", "reading"]
