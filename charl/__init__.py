"""charl: NumPy-like arrays whose arithmetic is recorded, fused and compiled while the program runs.

    import charl as ch

The names are the array API standard's (2025.12), plus what README.md lists. This file only hands
them on.
"""

from charl import _locate

_locate.settle(globals())

from charl.core.lazy import uncollected as _uncollected

with _uncollected():
    from charl.api import gpu
    from charl.api.constants import e, inf, nan, newaxis, pi
    from charl.api.control import (
        cache_info,
        eval,
        get_num_threads,
        memory_stats,
        set_num_threads,
        wait_compiled,
    )
    from charl.api.creation_functions import (
        arange,
        asarray,
        empty,
        empty_like,
        eye,
        from_dlpack,
        full,
        full_like,
        linspace,
        meshgrid,
        ones,
        ones_like,
        tril,
        triu,
        zeros,
        zeros_like,
    )
    from charl.api.data_type_functions import astype, can_cast, finfo, iinfo, isdtype, result_type
    from charl.api.elementwise_calculus import (
        acos,
        acosh,
        asin,
        asinh,
        atan,
        atan2,
        atanh,
        cbrt,
        cos,
        cosh,
        erf,
        exp,
        exp2,
        expm1,
        hypot,
        log,
        log1p,
        log2,
        log10,
        logaddexp,
        sigmoid,
        sin,
        sinh,
        sqrt,
        tan,
        tanh,
    )
    from charl.api.elementwise_functions import (
        abs,
        add,
        bitwise_and,
        bitwise_invert,
        bitwise_left_shift,
        bitwise_or,
        bitwise_right_shift,
        bitwise_xor,
        ceil,
        clip,
        conj,
        copysign,
        divide,
        equal,
        floor,
        floor_divide,
        greater,
        greater_equal,
        imag,
        isfinite,
        isinf,
        isnan,
        less,
        less_equal,
        logical_and,
        logical_not,
        logical_or,
        logical_xor,
        maximum,
        minimum,
        multiply,
        negative,
        nextafter,
        not_equal,
        positive,
        pow,
        real,
        reciprocal,
        remainder,
        round,
        sign,
        signbit,
        square,
        subtract,
        trunc,
    )
    from charl.api.gpu import devices
    from charl.api.indexing_functions import take, take_along_axis
    from charl.api.info import __array_namespace_info__
    from charl.api.linear_algebra_functions import matmul, matrix_transpose, tensordot, vecdot
    from charl.api.manipulation_functions import (
        broadcast_arrays,
        broadcast_shapes,
        broadcast_to,
        concat,
        expand_dims,
        flip,
        moveaxis,
        permute_dims,
        repeat,
        reshape,
        roll,
        sliding_window_view,
        squeeze,
        stack,
        tile,
        unstack,
    )
    from charl.api.methods import install as _install
    from charl.api.searching_functions import (
        argmax,
        argmin,
        count_nonzero,
        nonzero,
        searchsorted,
        where,
    )
    from charl.api.statistical_functions import (
        cumulative_prod,
        cumulative_sum,
        max,
        mean,
        min,
        prod,
        std,
        sum,
        var,
    )
    from charl.api.utility_functions import all, any, diff
    from charl.core.dtypes import (
        bfloat16,
        float16,
        float32,
        float64,
        int8,
        int16,
        int32,
        int64,
        uint8,
        uint16,
        uint32,
        uint64,
    )
    from charl.core.dtypes import bool_ as bool
    from charl.core.lazy import members as _members
    from charl.core.settings import config
    from charl.tensor import Tensor
    from charl.tensor import recorded as _recorded

_install()
_members(
    globals(),
    {
        "nn": ("charl.nn",),
        "random": ("charl.api.random",),
        "einsum": ("charl.api.einsum", "einsum"),
        "load": ("charl.api.io", "load"),
        "save": ("charl.api.io", "save"),
        **{
            name: ("charl.api.set_functions", name)
            for name in ("isin", "unique_all", "unique_counts", "unique_inverse", "unique_values")
        },
        **{
            name: ("charl.api.sorting_functions", name)
            for name in ("argsort", "bincount", "sort", "top_k")
        },
    },
)

__array_api_version__ = "2025.12"
__version__ = "0.1.0"
