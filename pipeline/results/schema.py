"""The columns of the results: one row a network."""

import pyarrow as pa

METRICS = ("accuracy", "rmse", "r2")
PARTS = ("train", "validation", "test")

_TEXT = ("trial", "path", "certificate", "network", "dataset", "shard")
_IDENTITY = (
    *("rounding", "loss", "activation", "polynomial", "alphabet", "second_layer"),
    *("certify", "solver"),
)
_REAL = ("lower_bound", "upper_bound", "gap", "relaxation_value", "loss_value")

# The bounds of one problem as they closed in, seconds since the relaxation was solved.
BOUNDS = pa.struct([(name, pa.float64()) for name in ("seconds", "lower", "upper")])
RESULTS_SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in _TEXT),
        pa.field("output", pa.int64()),
        pa.field("certificates", pa.list_(pa.string())),
        pa.field("n", pa.int64()),
        pa.field("d", pa.int64()),
        pa.field("beta", pa.float64()),
        pa.field("beta_fraction", pa.float64()),
        pa.field("beta_max", pa.float64()),
        pa.field("seed", pa.int64()),
        pa.field("width", pa.int64()),
        *(pa.field(name, pa.string()) for name in _IDENTITY),
        pa.field("loss_parameter", pa.float64()),
        *(pa.field(name, pa.float64()) for name in _REAL),
        *(pa.field(f"{part}_{metric}", pa.float64()) for part in PARTS for metric in METRICS),
        pa.field("neurons", pa.int64()),
        pa.field("bytes", pa.int64()),
        pa.field("preprocessing_bytes", pa.int64()),
        pa.field("seconds", pa.float64()),
        pa.field("relaxation_seconds", pa.float64()),
        pa.field("rounding_seconds", pa.float64()),
        pa.field("certify_seconds", pa.float64()),
        pa.field("baseline_seconds", pa.float64()),
        pa.field("proof", pa.string()),
        pa.field("bounds", pa.list_(BOUNDS)),
        pa.field("status", pa.string()),
        pa.field("error", pa.string()),
        pa.field("versions", pa.string()),
    ]
)
# Columns younger than the first results; null where a file of earlier versions has none.
LATER_COLUMNS = ("output", "certificates", "baseline_seconds")
# The columns in which two runs of one config may differ.
TIMING_COLUMNS = ("seconds", "relaxation_seconds", "rounding_seconds", "certify_seconds", "bounds")


def as_results(table: pa.Table) -> pa.Table:
    """Return a table, of an earlier version too, as one of `RESULTS_SCHEMA`; or `ValueError`."""
    for name in LATER_COLUMNS:
        if name not in table.schema.names:
            table = table.append_column(name, pa.nulls(len(table), RESULTS_SCHEMA.field(name).type))
    if sorted(table.schema.names) != sorted(RESULTS_SCHEMA.names):
        raise ValueError("not the columns of a results file of this version")
    return table.select(RESULTS_SCHEMA.names).cast(RESULTS_SCHEMA)
