"""Define a SIMD value for Numba: one tile row, one lane per matrix, in registers.

LLVM's loop vectoriser keeps the state of a recurrence in memory between blocks of rows and refuses some
loops altogether (measured: 6.7 cycles per row and register with it, 2.0 with this). Here a value *is* a
vector: `Lanes` holds ROW_BYTES bytes, 32 float32 or 16 float64 with AVX-512 and half as many without, so
kernels read like the scalar formula and the compiler splits each value into the registers the machine has
(AVX-512, AVX2, NEON, ...). Multiplications and additions may be contracted to fused ones ("contract"); no
other fast-math freedom is given, so infinities, NaN and signed zeros behave as IEEE says and every lane's
result is the same whatever the other lanes hold.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.core.registry import cpu_target
from numba.core.types.misc import CPointer
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, register_model


def _registers_are_wide() -> bool:
    """Return whether code is compiled for AVX-512, of this machine or of the level that NUMBA_CPU_NAME asks for."""
    _, name, features = cpu_target.target_context.codegen().magic_tuple()
    return "+avx512f" in features.split(",") or name == "x86-64-v4"


# Two AVX-512 registers, or four of 128 or two of 256 bits: enough independent chains to hide the latency of a fused
# multiply-add, and few enough for the state of a Sturm count to stay in registers (AVX2 with 128 bytes: 1.2 times the
# time at n = 100, and 1.3 times that of an explanation; AVX-512 with 64: 1.4 times).
ROW_BYTES = 128 if _registers_are_wide() else 64
LANES_F32 = ROW_BYTES // 4
LANES_F64 = ROW_BYTES // 8
ALIGNMENT = 64  # a cache line; rows that straddle lines halve the load rate

_INDEX = ir.IntType(64)
_CONTRACT = ("contract",)


class Lanes(types.Type):
    """Type a vector of `count` numbers of `dtype` for Numba; dtype boolean is a mask."""

    def __init__(self, dtype: Any, count: int) -> None:
        self.dtype = dtype
        self.count = count
        super().__init__(name=f"Lanes({dtype} x {count})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, dmm: Any, fe_type: Lanes) -> None:
        bits = 1 if fe_type.dtype == types.boolean else fe_type.dtype.bitwidth
        element: Any = ir.IntType(bits)
        if fe_type.dtype in (types.float32, types.float64):
            element = ir.FloatType() if bits == 32 else ir.DoubleType()
        super().__init__(dmm, fe_type, ir.VectorType(element, fe_type.count))


def _row_type(dtype: Any) -> Lanes:
    return Lanes(dtype, ROW_BYTES * 8 // dtype.bitwidth)


def _mask_type(lanes: Lanes) -> Lanes:
    return Lanes(types.boolean, lanes.count)


def _is_float(kind: Any) -> bool:
    return isinstance(kind, Lanes) and kind.dtype in (types.float32, types.float64)


def _splat(builder: Any, scalar: Any, vector_type: Any) -> Any:
    one = builder.insert_element(ir.Constant(vector_type, ir.Undefined), scalar, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector_type.count), [0] * vector_type.count)
    return builder.shuffle_vector(one, ir.Constant(vector_type, ir.Undefined), zeros)


def _register(op: Any, emit: Callable[..., Any], accepts: Callable[[Lanes], bool], mask: bool = False) -> None:
    """Give operator `op` on two equal Lanes (or a Lanes and a scalar, which is splat) the code `emit`."""

    @infer_global(op)
    class _Template(AbstractTemplate):  # type: ignore[misc]
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) != 2:
                return None
            lanes = next((a for a in args if isinstance(a, Lanes)), None)
            if lanes is None or not accepts(lanes):
                return None
            if any(isinstance(a, Lanes) and a != lanes for a in args):
                return None
            result = _mask_type(lanes) if mask else lanes
            return signature(result, *(a if isinstance(a, Lanes) else lanes.dtype for a in args))

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lanes = next(a for a in sig.args if isinstance(a, Lanes))
        vector_type = context.get_value_type(lanes)
        vectors = [
            v if isinstance(t, Lanes) else _splat(builder, v, vector_type) for t, v in zip(sig.args, args, strict=True)
        ]
        return emit(builder, *vectors)

    lower_builtin(op, Lanes, Lanes)(lower)
    for scalar in (types.Float, types.Integer):
        lower_builtin(op, Lanes, scalar)(lower)
        lower_builtin(op, scalar, Lanes)(lower)


def _float_op(name: str) -> Callable[..., Any]:
    return lambda builder, a, b: getattr(builder, name)(a, b, flags=_CONTRACT)


def _compare(sign: str) -> Callable[..., Any]:
    return lambda builder, a, b: builder.fcmp_ordered(sign, a, b)


for _op, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _register(_op, _float_op(_name), _is_float)
for _op, _sign in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
):
    _register(_op, _compare(_sign), _is_float, mask=True)
for _op, _name in ((operator.and_, "and_"), (operator.or_, "or_"), (operator.xor, "xor")):
    _register(_op, lambda b, x, y, _n=_name: getattr(b, _n)(x, y), lambda t: not _is_float(t))


@intrinsic
def rows_of(typingctx: Any, array: Any, row: Any) -> Any:
    """Return where row `row` of a C-contiguous array of rows of lanes starts, for `load` and `store`.

    Numba counts references to arrays and their slices by locked instructions: dozens for a tile, a third of the time of
    32 matrices of order 15 (measured). Nothing is counted of this, so it must not outlive the array.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lanes = ROW_BYTES * 8 // sig.return_type.dtype.bitwidth
        return builder.gep(_start(context, builder, sig.args[0], args[0]), [builder.mul(args[1], _INDEX(lanes))])

    return CPointer(array.dtype)(array, types.intp), codegen


@intrinsic
def as_float32(typingctx: Any, rows: Any) -> Any:
    """View the rows of float64 lanes that `rows_of` gave as rows of twice as many float32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType().as_pointer())

    return CPointer(types.float32)(rows), codegen


@intrinsic
def load(typingctx: Any, rows: Any, row: Any) -> Any:
    """Load row `row` as Lanes; no bounds check. rows: C-contiguous (rows, lanes), or `rows_of` such an array."""
    result = _row_type(rows.dtype)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _row_pointer(context, builder, sig.args[0], args[0], args[1], context.get_value_type(result))
        return builder.load(pointer, align=8)

    return result(rows, types.intp), codegen


@intrinsic
def store(typingctx: Any, rows: Any, row: Any, value: Any) -> Any:
    """Write `value` to row `row` of what `load` takes; no bounds check."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        pointer = _row_pointer(context, builder, sig.args[0], args[0], args[1], args[2].type)
        builder.store(args[2], pointer, align=8)
        return context.get_dummy_value()

    return types.none(rows, types.intp, value), codegen


@intrinsic
def store_between(typingctx: Any, array: Any, start: Any, low: Any, high: Any, value: Any) -> Any:
    """Write lanes low <= i < high of `value` to elements start + i of a C-contiguous array of any shape."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = args[4].type
        wide = ir.VectorType(_INDEX, kind.count)
        lanes = ir.Constant(wide, list(range(kind.count)))
        above = builder.icmp_signed(">=", lanes, _splat(builder, args[2], wide))
        mask = builder.and_(above, builder.icmp_signed("<", lanes, _splat(builder, args[3], wide)))
        address = builder.gep(_start(context, builder, sig.args[0], args[0]), [args[1]])
        pointer = builder.bitcast(address, kind.as_pointer())
        fn_type = ir.FunctionType(ir.VoidType(), [kind, pointer.type, ir.IntType(32), mask.type])
        name = f"llvm.masked.store.v{kind.count}f{sig.args[4].dtype.bitwidth}.p0"
        align = ir.IntType(32)(sig.args[4].dtype.bitwidth // 8)
        builder.call(cgutils.get_or_insert_function(builder.module, fn_type, name), [args[4], pointer, align, mask])
        return context.get_dummy_value()

    integer = types.intp
    return types.none(array, integer, integer, integer, value), codegen


@intrinsic
def load_below(typingctx: Any, array: Any, start: Any, high: Any, rest: Any) -> Any:
    """Load lanes i < high from elements start + i of a C-contiguous array of any shape; others are rest's."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = args[3].type
        wide = ir.VectorType(_INDEX, kind.count)
        mask = builder.icmp_signed("<", ir.Constant(wide, list(range(kind.count))), _splat(builder, args[2], wide))
        address = builder.gep(_start(context, builder, sig.args[0], args[0]), [args[1]])
        pointer = builder.bitcast(address, kind.as_pointer())
        fn_type = ir.FunctionType(kind, [pointer.type, ir.IntType(32), mask.type, kind])
        bits = sig.args[3].dtype.bitwidth
        name = f"llvm.masked.load.v{kind.count}f{bits}.p0"
        function = cgutils.get_or_insert_function(builder.module, fn_type, name)
        return builder.call(function, [pointer, ir.IntType(32)(bits // 8), mask, args[3]])

    return rest(array, types.intp, types.intp, rest), codegen


def _start(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return cgutils.create_struct_proxy(kind)(context, builder, array).data if isinstance(kind, types.Array) else array


def _row_pointer(context: Any, builder: Any, kind: Any, array: Any, row: Any, vector_type: Any) -> Any:
    offset = builder.mul(row, row.type(vector_type.count))
    return builder.bitcast(builder.gep(_start(context, builder, kind, array), [offset]), vector_type.as_pointer())


@intrinsic
def prefetch(typingctx: Any, array: Any, start: Any, count: Any) -> Any:
    """Ask for the cache lines of `count` elements of a C-contiguous array of any shape; past its end harmless."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        first = builder.gep(_start(context, builder, sig.args[0], args[0]), [args[1]])
        elements = ALIGNMENT * 8 // sig.args[0].dtype.bitwidth
        lines = builder.lshr(builder.add(args[2], _INDEX(elements - 1)), _INDEX(elements.bit_length() - 1))
        integer = ir.IntType(32)
        fn_type = ir.FunctionType(ir.VoidType(), [first.type, integer, integer, integer])
        function = cgutils.get_or_insert_function(builder.module, fn_type, "llvm.prefetch.p0")
        with cgutils.for_range(builder, lines) as loop:
            line = builder.gep(first, [builder.mul(loop.index, _INDEX(elements))])
            builder.call(function, [line, integer(0), integer(2), integer(1)])  # to read, to the second cache, data
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp), codegen


@intrinsic
def fill(typingctx: Any, like: Any, scalar: Any) -> Any:
    """Fill lanes of the type of `like` with `scalar`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _splat(builder, args[1], context.get_value_type(sig.return_type))

    return like(like, like.dtype), codegen


@intrinsic
def no_signs(typingctx: Any, like: Any) -> Any:
    """Return unsigned zeros, one per lane of the float Lanes `like`: an empty sign history, or a count of none."""
    result = Lanes(types.uint32 if like.dtype.bitwidth == 32 else types.uint64, like.count)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(context.get_value_type(result), None)

    return result(like), codegen


@intrinsic
def store_half(typingctx: Any, array: Any, row: Any, half: Any, value: Any) -> Any:
    """Round float64 Lanes to float32 and write them to half 0 or 1 of a row of float32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.VectorType(ir.FloatType(), args[3].type.count)
        twice = builder.add(builder.add(args[1], args[1]), args[2])
        pointer = _row_pointer(context, builder, sig.args[0], args[0], twice, kind)
        builder.store(builder.fptrunc(args[3], kind), pointer, align=4)
        return context.get_dummy_value()

    return types.none(array, types.intp, types.intp, value), codegen


@intrinsic
def load_half(typingctx: Any, array: Any, row: Any, half: Any) -> Any:
    """Load half 0 or 1 of a row of float32, widened to float64 Lanes."""
    result = _row_type(types.float64)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.VectorType(ir.FloatType(), result.count)
        twice = builder.add(builder.add(args[1], args[1]), args[2])
        pointer = _row_pointer(context, builder, sig.args[0], args[0], twice, kind)
        return builder.fpext(builder.load(pointer, align=4), context.get_value_type(result))

    return result(array, types.intp, types.intp), codegen


@intrinsic
def select(typingctx: Any, mask: Any, yes: Any, no: Any) -> Any:
    """Return yes where mask, else no."""
    return yes(mask, yes, no), lambda context, builder, sig, args: builder.select(*args)


@intrinsic
def any_lane(typingctx: Any, mask: Any) -> Any:
    """Return whether the mask holds in some lane."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = ir.IntType(sig.args[0].count)
        return builder.icmp_unsigned("!=", builder.bitcast(args[0], bits), bits(0))

    return types.boolean(mask), codegen


@intrinsic
def count_lanes(typingctx: Any, mask: Any) -> Any:
    """Count the lanes in which the mask holds."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], ir.IntType(sig.args[0].count))
        return builder.zext(_llvm(builder, "ctpop", f"i{sig.args[0].count}", bits), _INDEX)

    return types.intp(mask), codegen


@intrinsic
def push_sign(typingctx: Any, history: Any, value: Any) -> Any:
    """Return history << 1 | signbit(value): one funnel-shift instruction per row on AVX-512."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = args[0].type
        bits = builder.bitcast(args[1], kind)
        one, top = (ir.Constant(kind, [k] * kind.count) for k in (1, kind.element.width - 1))
        return builder.or_(builder.shl(args[0], one), builder.lshr(bits, top))

    return history(history, value), codegen


@intrinsic
def add_sign_changes(typingctx: Any, count: Any, history: Any, sequences: Any, signs: Any) -> Any:
    """Add to count the number of sign changes that the newest `signs` signs of `history` bring.

    The signs are those of `sequences` sequences by turns: each is compared with the one pushed that long before it.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = args[1].type
        turn, width = (
            _splat(builder, context.cast(builder, arg, arg_type, sig.args[1].dtype), kind)
            for arg, arg_type in zip(args[2:], sig.args[2:], strict=True)
        )
        one = ir.Constant(kind, [1] * kind.count)
        mask = builder.sub(builder.shl(one, width), one)
        changes = builder.and_(builder.xor(args[1], builder.lshr(args[1], turn)), mask)
        return builder.add(args[0], _llvm(builder, "ctpop", f"v{kind.count}i{kind.element.width}", changes))

    return count(count, history, types.intp, types.intp), codegen


@intrinsic
def inverse_power_of_two(typingctx: Any, value: Any) -> Any:
    """Return 2^-floor(log2 |value|) by exponent arithmetic, for normal |value|; harmless (finite) for zero."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        width = sig.args[0].dtype.bitwidth
        kind = ir.VectorType(ir.IntType(width), sig.args[0].count)
        exponent, double_bias = (0x7F800000, 0x7F000000) if width == 32 else (0x7FF << 52, 0x7FE << 52)
        field, top = (ir.Constant(kind, [k] * kind.count) for k in (exponent, double_bias))
        bits = builder.and_(builder.bitcast(args[0], kind), field)
        return builder.bitcast(builder.sub(top, bits), args[0].type)

    return value(value), codegen


def _llvm(builder: Any, name: str, suffix: str, value: Any) -> Any:
    """Call the LLVM intrinsic llvm.<name>.<suffix> of one argument."""
    fn_type = ir.FunctionType(value.type, [value.type])
    return builder.call(cgutils.get_or_insert_function(builder.module, fn_type, f"llvm.{name}.{suffix}"), [value])


def _unary(name: str) -> Any:
    @intrinsic
    def function(typingctx: Any, value: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _llvm(builder, name, f"v{sig.args[0].count}f{sig.args[0].dtype.bitwidth}", args[0])

        return value(value), codegen

    return function


absolute = _unary("fabs")
square_root = _unary("sqrt")


@intrinsic
def sum_lanes(typingctx: Any, value: Any) -> Any:
    """Sum all lanes, in one fixed order for every machine: halves are added until one is left."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        part, count = args[0], args[0].type.count
        while count > 1:
            count //= 2
            halves = [
                ir.Constant(ir.VectorType(ir.IntType(32), count), list(range(first, first + count)))
                for first in (0, count)
            ]
            low, high = (builder.shuffle_vector(part, part, half) for half in halves)
            part = builder.fadd(low, high)
        return builder.extract_element(part, ir.IntType(32)(0))

    return value.dtype(value), codegen


#: Numbers that `add_sums` adds to.
_SUMS = 8


@intrinsic
def add_sums(
    typingctx: Any, rows: Any, row: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any
) -> Any:
    """Add the sums of the lanes of eight float64 Lanes to the eight numbers of a row of a C-contiguous array.

    A third of the instructions of eight `sum_lanes`, and the numbers are added at once.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def picked(left: Any, right: Any, picks: list[int]) -> Any:
            return builder.shuffle_vector(left, right, ir.Constant(ir.VectorType(ir.IntType(32), len(picks)), picks))

        parts = list(args[2:])
        while (count := parts[0].type.count) > _SUMS:
            half = count // 2
            parts = [builder.fadd(picked(p, p, [*range(half)]), picked(p, p, [*range(half, count)])) for p in parts]
        # Neighbours share a register, half of it each, then quarters, and eighths.
        run = _SUMS // 2
        while len(parts) > 1:
            low = [i for i in range(2 * _SUMS) if not i & run]
            parts = [
                builder.fadd(picked(left, right, low), picked(left, right, [i + run for i in low]))
                for left, right in zip(parts[::2], parts[1::2], strict=True)
            ]
            run //= 2
        pointer = _row_pointer(context, builder, sig.args[0], args[0], args[1], parts[0].type)
        builder.store(builder.fadd(builder.load(pointer, align=8), parts[0]), pointer, align=8)
        return context.get_dummy_value()

    return types.none(rows, types.intp, *[a] * _SUMS), codegen


@intrinsic
def smaller(typingctx: Any, a: Any, b: Any) -> Any:
    """Return a where a < b, else b (so b where either is NaN)."""
    return a(a, a), lambda context, builder, sig, args: builder.select(builder.fcmp_ordered("<", *args), *args)


@intrinsic
def larger(typingctx: Any, a: Any, b: Any) -> Any:
    """Return a where a > b, else b (so b where either is NaN)."""
    return a(a, a), lambda context, builder, sig, args: builder.select(builder.fcmp_ordered(">", *args), *args)


@intrinsic
def number_of(typingctx: Any, count: Any) -> Any:
    """Return unsigned counts as floats of the same width."""
    result = Lanes(types.float32 if count.dtype.bitwidth == 32 else types.float64, count.count)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.uitofp(args[0], context.get_value_type(result))

    return result(count), codegen
