"""Join the parts of a table, each with what its folder, and pandas, say of its rows."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from eigenserve.errors import UserError
from eigenserve.model.rows.sources import MISSING_PARTITION, Source


def with_partition(table: pa.Table, source: Source) -> pa.Table:
    """Append what folders called COLUMN=VALUE say of a file's rows, as texts; a column of the file stays as it is.

    Raises:
        UserError: the file has the column, with another value.
    """
    for name, value in source.partition.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.array([value] * len(table), pa.string()))
            continue
        differ = [cell for cell in table[name].unique().to_pylist() if not _is_value(cell, value)]
        if differ:
            shown = f"{name}={MISSING_PARTITION if value is None else value}"
            raise UserError(
                f"{source.name} is in a folder {shown}, but its column {name!r} has {differ[0]!r}: rename one"
            )
    return table


def with_categories(table: pa.Table) -> pa.Table:
    """Return a table in which the columns that pandas wrote as categories are such: Parquet has numbers of them."""
    described = (table.schema.pandas_metadata or {}).get("columns", ())
    categories = {column.get("name") for column in described if column.get("pandas_type") == "categorical"}
    for i, field in enumerate(table.schema):
        if field.name in categories and not pa.types.is_dictionary(field.type):
            table = table.set_column(i, field.name, table.column(i).dictionary_encode())
    return table


def joined_parts(tables: list[tuple[str, pa.Table]]) -> pa.Table:
    """Join the rows of all parts, by name, which must have the same columns.

    Raises:
        UserError: a column that a part lacks, or of types that do not go together.
    """
    # The types of columns without rows say nothing.
    tables = [part for part in tables if len(part[1])] or tables[:1]
    first, names = tables[0][1], set(tables[0][1].column_names)
    for name, table in tables[1:]:
        if differ := names ^ set(table.column_names):
            column = sorted(differ)[0]
            missing = name if column in names else tables[0][0]
            raise UserError(f"parts must have the same columns; {missing} has no column {column!r}")
    if len(tables) == 1:
        return first
    selected = [table.select(first.column_names) for _, table in tables]
    try:
        return pa.concat_tables(selected, promote_options="permissive")
    except pa.ArrowException:
        selected = list(map(_plain_texts, selected))
    try:
        return pa.concat_tables(selected, promote_options="permissive")
    except pa.ArrowException as error:
        named = [(name, table) for (name, _), table in zip(tables, selected, strict=True)]
        raise _of_several_types(named, error) from error


def _plain_texts(table: pa.Table) -> pa.Table:
    """Return a table whose texts are all of one Arrow type, whatever way they are stored."""
    for i, field in enumerate(table.schema):
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
        if is_text and field.type != pa.large_string():
            table = table.set_column(i, field.name, table.column(i).cast(pa.large_string()))
    return table


def _of_several_types(tables: list[tuple[str, pa.Table]], error: Exception) -> UserError:
    """Return the error of parts of which a column has types that do not go together."""
    first_name, first = tables[0]
    for name, table in tables[1:]:
        for column in first.column_names:
            here, there = first.schema.field(column).type, table.schema.field(column).type
            try:
                pa.unify_schemas(
                    [pa.schema([(column, here)]), pa.schema([(column, there)])], promote_options="permissive"
                )
            except pa.ArrowException:
                return UserError(
                    f"parts must have columns of the same types; {column!r} is {here} in {first_name} and {there} in "
                    f"{name}: write it as one type, or save the parts as CSV"
                )
    return UserError(f"parts must have columns of the same types; {' '.join(str(error).split())}")


def _is_value(cell: Any, text: str | None) -> bool:
    """Return whether a cell is what the name of a folder says."""
    if cell is None or text is None or str(cell) == text:
        return str(cell) == str(text)
    try:
        return float(cell) == float(text)
    except (TypeError, ValueError):
        return False
