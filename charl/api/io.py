"""save and load: one Tensor in NumPy's .npy format."""

from __future__ import annotations

import numpy as np

from charl.api import build as b
from charl.core import dtypes


def save(file, x, /):
    """Writes x (...) to a path (".npy" is appended if missing) or a binary file, as NumPy's save
    does.

    bfloat16 is written as two-byte records, which the format has no name for; load reads those as
    bfloat16.
    """
    values = b.values(x, "save")
    np.save(file, values, allow_pickle=False)


def load(file, /):
    """The Tensor in an .npy file. Raises ValueError for another format or a dtype charl has not.

    >>> import tempfile, os
    >>> path = os.path.join(tempfile.mkdtemp(), "x.npy")
    >>> ch.save(path, ch.asarray([1, 2])); ch.load(path)
    Tensor([1, 2])
    """
    values = np.load(file, allow_pickle=False)
    if not isinstance(values, np.ndarray):
        values.close()
        raise ValueError(
            "load: an .npz archive; load its arrays with numpy and pass them to asarray"
        )
    if values.dtype == np.dtype("V2"):
        values = values.view(dtypes.to_numpy(dtypes.bfloat16))
    try:
        return b.adopt(values)
    except TypeError as error:
        raise ValueError(f"load: {error}") from None
