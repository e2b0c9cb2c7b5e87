import io
import zipfile

import numpy as np
import pytest

from qnn.errors import InputError
from qnn.numerics.archive import pack_arrays, read_bytes, unpack_arrays, write_file


def member(array):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array)
    return stream.getvalue()


def archive_of(members):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return stream.getvalue()


def test_arrays_come_back_and_numpy_reads_them():
    arrays = {
        "text": np.array("β"),
        "empty": np.zeros((0, 3), dtype=np.int8),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    }
    data = pack_arrays(arrays)
    assert data == pack_arrays(arrays)
    back = unpack_arrays(data, "f", "test")
    with np.load(io.BytesIO(data), allow_pickle=False) as plain:
        for name, array in arrays.items():
            assert np.array_equal(back[name], array)
            assert back[name].dtype == array.dtype
            assert np.array_equal(plain[name], array)


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"one": np.float64(2.5)},
        {"größe": np.array(["a", "β"]), "b": np.zeros((0, 2), np.int8), "c": np.array(True)},
        {"f": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "strided": np.arange(20.0)[::3],
         "swapped": np.arange(3, dtype=">i4"), "turned": np.arange(24).reshape(2, 3, 4).T[:, ::2]},
        {"record": np.array([(1, 2.0)], dtype=[("k", "i4"), ("x", "f8")])},
        {f"x{k}": np.full(k, 1j) for k in range(300)},
    ],
)  # fmt: skip
def test_the_bytes_are_those_of_the_library(arrays):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member(array))
    assert pack_arrays(arrays) == stream.getvalue()


def test_large_members_have_wide_sizes(monkeypatch):
    monkeypatch.setattr("qnn.numerics.archive.zipfile.ZIP64_LIMIT", 2000)
    arrays = {"x": np.arange(1000.0)}
    with np.load(io.BytesIO(pack_arrays(arrays))) as plain:
        assert np.array_equal(plain["x"], arrays["x"])


def test_objects_are_not_stored():
    with pytest.raises(ValueError, match="objects"):
        pack_arrays({"x": np.array([None])})


def test_a_header_that_promises_more_than_there_is_allocates_nothing():
    huge = member(np.zeros(3)).replace(b"(3,), }         ", b"(3000000000000,)}")
    assert b"3000000000000" in huge
    with pytest.raises(InputError, match="header does not fit its data"):
        unpack_arrays(archive_of([("x.npy", huge)]), "f.npz", "test")


def test_members_that_occur_twice_and_bytes_behind_the_data_are_refused():
    good = member(np.zeros(3))
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = archive_of([("x.npy", good), ("x.npy", good)])
    with pytest.raises(InputError, match=r"f\.npz: not a readable test file .*occurs twice"):
        unpack_arrays(twice, "f.npz", "test")
    with pytest.raises(InputError, match="header does not fit its data"):
        unpack_arrays(archive_of([("x.npy", good + b"more")]), "f.npz", "test")


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "f.npz"
    write_file(path, b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError) as caught:
        write_file(path, b"new")
    assert str(caught.value) == (
        f"{path}: cannot be written (No space left on device); choose a folder that exists and is "
        "writable"
    )
    assert read_bytes(path, "test") == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["f.npz"]


def test_numpy_writes_the_same_form(tmp_path):
    np.savez(tmp_path / "f.npz", x=np.arange(3.0), y=np.array("text"))
    back = unpack_arrays((tmp_path / "f.npz").read_bytes(), "f.npz", "test")
    assert back["x"].tolist() == [0.0, 1.0, 2.0]
    assert str(back["y"]) == "text"


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda good: archive_of([("x", good), ("x.npy", good)]), "a member named 'x'"),
        (lambda good: archive_of([("x.npy.npy", good)]), "a member named"),
        (lambda good: archive_of([("x.txt", good)]), "a member named"),
        (lambda good: b"#!/bin/sh\n" + archive_of([("x.npy", good)]), "bytes between"),
        (lambda good: archive_of([("x.npy", good)]) + b"\0", "not a readable"),
        (lambda good: commented(archive_of([("x.npy", good)])), "bytes beside"),
        (lambda good: deflated(np.zeros(10**6)), "is compressed or encrypted"),
    ],
)
def test_only_one_form_is_read(damage, text):
    """What another reader could take for something else, or would inflate to gigabytes."""
    with pytest.raises(InputError, match=text):
        unpack_arrays(damage(member(np.zeros(3))), "f.npz", "test")


def test_two_files_in_one_are_refused():
    first, second = (archive_of([("x.npy", member(np.full(3, value)))]) for value in (1.0, 2.0))
    with pytest.raises(InputError, match="bytes between"):
        unpack_arrays(first + second, "f.npz", "test")


def commented(data):
    return data[:-2] + (4).to_bytes(2, "little") + b"note"


def deflated(array):
    stream = io.BytesIO()
    np.savez_compressed(stream, x=array)
    return stream.getvalue()
