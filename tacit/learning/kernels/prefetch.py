"""Asking the processor for memory before it is read: what hides the latency of item rows picked at random."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic


def _generator(typing_context: Any, array: Any, index: Any) -> Any:
    """Types and code of a call."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [place.type, word, word, word])
        function = get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, shape, "llvm.prefetch.p0"
        )
        builder.call(function, [place, word(0), word(2), word(1)])  # to read; keep in the second level; data
        return context.get_dummy_value()

    return types.void(array, index), generate


prefetch: Any = intrinsic(_generator)
"""prefetch(array, index): bring the cache line of a contiguous array's element nearer. Changes no value."""
