"""What this namespace offers: __array_namespace_info__. Source: array API 2025.12, inspection."""

from __future__ import annotations

from charl.api import build as b
from charl.api.data_type_functions import isdtype
from charl.core import dtypes
from charl.core.settings import config
from charl.engine import devices

# the dtypes that the standard names
_STANDARD = [d for d in dtypes.ALL if d not in (dtypes.float16, dtypes.bfloat16)]


class Info:
    """Answers about devices, dtypes and capabilities."""

    def capabilities(self):
        """Of the standard's optional parts: which there are.

        >>> ch.__array_namespace_info__().capabilities()["boolean indexing"]
        True
        """
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self):
        """The device of new arrays."""
        return config.default_device

    def devices(self):
        """All devices of this process."""
        return devices.names()

    def default_dtypes(self, *, device=None):
        """The dtypes that creation functions give where none is stated. There is no complex dtype
        yet.
        """
        at = b.on_device(device, "default_dtypes")
        integral = b.dtype_on(at, None, dtypes.int64, "default_dtypes")
        return {
            "real floating": b.dtype_on(at, None, dtypes.float64, "default_dtypes"),
            "complex floating": None,
            "integral": integral,
            "indexing": dtypes.int64,
        }

    def dtypes(self, *, device=None, kind=None):
        """The standard's dtypes that there are, by name; `kind` as in isdtype, or a tuple of kinds.

        >>> sorted(ch.__array_namespace_info__().dtypes(kind="real floating"))
        ['float32', 'float64']
        """
        at = b.on_device(device, "dtypes")
        return {
            d.name: d
            for d in _STANDARD
            if (kind is None or isdtype(d, kind)) and not devices.lacks(at, d.name)
        }


def __array_namespace_info__():
    """An object that tells capabilities(), default_device(), default_dtypes(), devices(), dtypes().

    >>> "cpu" in ch.__array_namespace_info__().devices()
    True
    """
    return Info()
