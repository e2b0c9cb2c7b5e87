"""A network's npz file: how its fields stand in it, and back.

Only what a file can get wrong is checked here: that the members are those of a network, and what
type each is. Whether the values make a network, `QuantizedNetwork` says itself.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from qnn.errors import InputError
from qnn.numerics.archive import pack_arrays, unpack_arrays

Array = np.ndarray

FORMAT = 1
_TEXTS = ("activation", "alphabet", "loss", "preprocessing", "second_layer")
# Of the others the type, and whether there is one number alone.
_NUMBERS = {
    "U": (np.int8, False),
    "V": (np.int8, False),
    "alpha": (np.float64, False),
    "polynomial": (np.float64, False),
    "beta": (np.float64, True),
    "loss_parameter": (np.float64, True),
}
# Left out where they say nothing, so that most files are as they always were.
_OPTIONAL = {"loss_parameter", "second_layer"}


def pack_network(fields: Mapping[str, Any]) -> bytes:
    """The file's bytes from a network's fields by name; equal fields give equal bytes."""
    given = {name: value for name, value in fields.items() if value is not None}
    preprocessing = given.get("preprocessing")
    arrays = {
        "format": np.array(FORMAT, dtype="<i8"),
        "activation": np.array(given["activation"]),
        "alphabet": np.array(given["alphabet"]),
        "U": given["U"],
        **({"V": given["V"]} if "V" in given else {}),
        **({"polynomial": np.array(given["polynomial"], "<f8")} if "polynomial" in given else {}),
        "alpha": given["alpha"].astype("<f8"),
        # Not a number / the empty text stand for None: every file has the same members.
        "beta": np.array(given.get("beta", math.nan), dtype="<f8"),
        "loss": np.array(given.get("loss", "")),
        "preprocessing": np.array("" if preprocessing is None else preprocessing.to_json()),
    }
    if "loss_parameter" in given:
        arrays["loss_parameter"] = np.array(given["loss_parameter"], "<f8")
    if given["second_layer"] != "float":
        arrays["second_layer"] = np.array(given["second_layer"])
    return pack_arrays(arrays)


def unpack_network(data: bytes, where: str) -> dict[str, Any]:
    """The fields by name from a file's bytes; ``where`` names it in messages.

    Raises InputError, one line, for damaged or foreign content.
    """
    arrays = unpack_arrays(data, where, "network")
    version = arrays.pop("format", None)
    if version is None or version.dtype.kind != "i" or version.shape != ():
        raise InputError(f"{where}: not a network file: it has no format number")
    if version != FORMAT:
        raise InputError(
            f"{where}: network format {version}, this version of qnn reads format {FORMAT}; "
            "use the version of qnn that wrote it"
        )
    extra = "V" if _text(arrays, "activation", where) == "bilinear" else "polynomial"
    expected = {*_TEXTS, *_NUMBERS} - {"V", "polynomial"} | {extra}
    if set(arrays) | _OPTIONAL != expected:
        members = ", ".join(sorted({*arrays, "format"}))
        raise InputError(f"{where}: not a network file: members {members}")
    texts = {name: _text(arrays, name, where) for name in _TEXTS if name in arrays}
    fields: dict[str, Any] = {"V": None, **texts}
    for name, (dtype, single) in _NUMBERS.items():
        if name in arrays:
            fields[name] = _number(name, arrays[name], dtype, single, where)
    fields["beta"] = None if np.isnan(fields["beta"]) else fields["beta"]
    fields["loss"] = fields["loss"] or None
    fields["preprocessing"] = _preprocessing(fields["preprocessing"], where)
    return fields


def _text(arrays: Mapping[str, Array], name: str, where: str) -> str:
    array = arrays.get(name)
    if array is None or array.dtype.kind != "U" or array.shape != ():
        raise InputError(f"{where}: not a network file: no text {name!r} in it")
    return str(array)


def _number(name: str, array: Array, dtype: Any, single: bool, where: str) -> Any:
    if array.dtype != dtype:
        raise InputError(f"{where}: {name} is {array.dtype}, must be {np.dtype(dtype)}")
    if single and array.shape != ():
        raise InputError(f"{where}: {name} must be one number")
    if name == "polynomial" and array.ndim != 1:
        raise InputError(f"{where}: polynomial must be three numbers")
    return float(array) if single else array


def _preprocessing(text: str, where: str) -> Any:
    if not text:
        return None
    # Only here: a network without one needs no table.
    from qnn.features.preprocessing import Preprocessing

    try:
        return Preprocessing.from_json(text)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
