"""Turn matrices into lanes and lanes into matrices, by 8 x 8 transposes in registers.

Element by element the stores of a tile fall into a different cache line each (measured: 0.43 ns per element
at n = 100 and 0.7 at n = 1000, a quarter of the whole eigenvalue); through registers it is 0.13.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from eigenserve.model.kernels.lanes import LANES_F64

SIDE = 8  # float64 per AVX-512 register; machines with narrower ones split each in two or four

_VECTOR = ir.VectorType(ir.DoubleType(), SIDE)
_MASK = ir.VectorType(ir.IntType(1), SIDE)
_INDEX = ir.IntType(64)


def _transposed(builder: Any, rows: list[Any]) -> list[Any]:
    """Transpose by three rounds of exchanging halves, quarters and eighths between rows."""

    def shuffle(a: Any, b: Any, picks: list[int]) -> Any:
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), SIDE), picks))

    for step in (4, 2, 1):
        low = [i if not i & step else (i ^ step) + SIDE for i in range(SIDE)]
        high = [i + step if not i & step else i + SIDE for i in range(SIDE)]
        merged = list(rows)
        for i in range(SIDE):
            if not i & step:
                merged[i] = shuffle(rows[i], rows[i + step], low)
                merged[i + step] = shuffle(rows[i], rows[i + step], high)
        rows = merged
    return rows


def _element(context: Any, builder: Any, array_type: Any, array: Any, row: Any, column: Any) -> Any:
    """Point to array[row, column] of a C-contiguous matrix, as a pointer to SIDE float64."""
    fields = cgutils.create_struct_proxy(array_type)(context, builder, array)
    width = cgutils.unpack_tuple(builder, fields.shape, 2)[1]
    offset = builder.add(builder.mul(row, width), column)
    return builder.bitcast(builder.gep(fields.data, [offset]), _VECTOR.as_pointer())


def _tile_element(builder: Any, tile: Any, row: Any, lane: Any) -> Any:
    """Point to the same of a tile, which is `rows_of` float64 lanes."""
    offset = builder.add(builder.mul(row, _INDEX(LANES_F64)), lane)
    return builder.bitcast(builder.gep(tile, [offset]), _VECTOR.as_pointer())


def _first(builder: Any, count: Any) -> Any:
    """Mask the first `count` lanes."""
    lanes = ir.Constant(ir.VectorType(_INDEX, SIDE), list(range(SIDE)))
    one = builder.insert_element(ir.Constant(lanes.type, ir.Undefined), count, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), SIDE), [0] * SIDE)
    splat = builder.shuffle_vector(one, ir.Constant(lanes.type, ir.Undefined), zeros)
    return builder.icmp_signed("<", lanes, splat)


def _row_index(context: Any, builder: Any, array_type: Any, array: Any, place: Any) -> Any:
    fields = cgutils.create_struct_proxy(array_type)(context, builder, array)
    return builder.load(builder.gep(fields.data, [place]))


@intrinsic
def load_transposed(typingctx: Any, source: Any, rows: Any, start: Any, column: Any, tile: Any, lane: Any) -> Any:
    """Set tile[column + i, lane + j] = source[rows[start + j], column + i] for i, j < SIDE; zero past the end.

    source (M, n), C-contiguous float64; rows int64; tile: `rows_of` float64 lanes.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        array, indices, first_index, first_column, out, first_lane = args
        fields = cgutils.create_struct_proxy(sig.args[0])(context, builder, array)
        width = cgutils.unpack_tuple(builder, fields.shape, 2)[1]
        mask = _first(builder, builder.sub(width, first_column))
        fn_type = ir.FunctionType(_VECTOR, [_VECTOR.as_pointer(), ir.IntType(32), _MASK, _VECTOR])
        masked_load = cgutils.get_or_insert_function(builder.module, fn_type, "llvm.masked.load.v8f64.p0")
        zero = ir.Constant(_VECTOR, [0.0] * SIDE)
        vectors = []
        for j in range(SIDE):
            row = _row_index(context, builder, sig.args[1], indices, builder.add(first_index, _INDEX(j)))
            pointer = _element(context, builder, sig.args[0], array, row, first_column)
            vectors.append(builder.call(masked_load, [pointer, ir.IntType(32)(8), mask, zero]))
        for i, vector in enumerate(_transposed(builder, vectors)):
            row = builder.add(first_column, _INDEX(i))
            builder.store(vector, _tile_element(builder, out, row, first_lane), align=8)
        return context.get_dummy_value()

    integer = types.intp
    return types.none(source, rows, integer, integer, tile, integer), codegen


@intrinsic
def store_transposed(typingctx: Any, tile: Any, lane: Any, target: Any, column: Any, rows: Any, start: Any) -> Any:
    """Set target[rows[start + j], column + i] = tile[column + i, lane + j] for i, j < SIDE, up to the end.

    tile: `rows_of` float64 lanes; target (M, n), C-contiguous float64; rows int64; repeated rows get the same values.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        array, first_lane, out, first_column, indices, first_index = args
        fields = cgutils.create_struct_proxy(sig.args[2])(context, builder, out)
        width = cgutils.unpack_tuple(builder, fields.shape, 2)[1]
        mask = _first(builder, builder.sub(width, first_column))
        fn_type = ir.FunctionType(ir.VoidType(), [_VECTOR, _VECTOR.as_pointer(), ir.IntType(32), _MASK])
        masked_store = cgutils.get_or_insert_function(builder.module, fn_type, "llvm.masked.store.v8f64.p0")
        vectors = []
        for i in range(SIDE):
            pointer = _tile_element(builder, array, builder.add(first_column, _INDEX(i)), first_lane)
            vectors.append(builder.load(pointer, align=8))
        for j, vector in enumerate(_transposed(builder, vectors)):
            row = _row_index(context, builder, sig.args[4], indices, builder.add(first_index, _INDEX(j)))
            pointer = _element(context, builder, sig.args[2], out, row, first_column)
            builder.call(masked_store, [vector, pointer, ir.IntType(32)(8), mask])
        return context.get_dummy_value()

    integer = types.intp
    return types.none(tile, integer, target, integer, rows, integer), codegen
