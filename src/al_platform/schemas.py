"""Arrow schemas of the datasets that stages hand to one another, and their validation.

A table may hold more columns than its schema: they are kept.
"""

import pyarrow as pa

from al_platform.domain.errors import SchemaError

STRINGS = pa.list_(pa.string())

PAGES = pa.schema(
    [
        pa.field("page_id", pa.string(), nullable=False),
        pa.field("url", pa.string()),
        pa.field("domain", pa.string()),
        pa.field("title", pa.string()),
        pa.field("text", pa.string()),
        pa.field("language", pa.string()),
        pa.field("fetched_at", pa.timestamp("us", tz="UTC")),
        pa.field("visits", pa.int64()),
    ]
)

PREDICTIONS = pa.schema(
    [
        pa.field("page_id", pa.string(), nullable=False),
        pa.field("domain", pa.string()),
        pa.field("text_hash", pa.string()),
        pa.field("model_digest", pa.string()),
        pa.field("probabilities", pa.list_(pa.float32())),
        pa.field("top1", pa.float32()),
        pa.field("top2", pa.float32()),
        pa.field("margin", pa.float32()),
        pa.field("entropy", pa.float32()),
        pa.field("threshold_distance", pa.float32()),
        pa.field("embedding", pa.list_(pa.float16())),
    ]
)

DUEL = pa.struct(
    [
        pa.field("challenger_digest", pa.string()),
        pa.field("champion_digest", pa.string()),
        pa.field("challenger_values", STRINGS),
        pa.field("champion_values", STRINGS),
        pa.field("disputed", STRINGS),
        pa.field("decisions", pa.int64()),
        pa.field("disagreements", pa.int64()),
        pa.field("drawn", pa.int64()),
    ]
)
"""What two models say about a page of a duel between them, and what the page was drawn from; see ``domain.duel``."""

BATCH = pa.schema(
    [
        pa.field("batch_id", pa.string(), nullable=False),
        pa.field("page_id", pa.string(), nullable=False),
        pa.field("rank", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("why", pa.string()),
        pa.field("score", pa.float64()),
        pa.field("inclusion_probability", pa.float64()),
        pa.field("stratum", pa.string()),
        pa.field("frame_size", pa.int64()),
        pa.field("frame_digest", pa.string()),
        pa.field("model_digest", pa.string()),
        pa.field("duel", DUEL),
        pa.field("answers_wanted", pa.int64()),
        pa.field("known_values", STRINGS),
        pa.field("url", pa.string()),
        pa.field("domain", pa.string()),
        pa.field("title", pa.string()),
        pa.field("text", pa.string()),
        pa.field("language", pa.string()),
    ]
)

ANNOTATIONS = pa.schema(
    [
        pa.field("annotation_id", pa.string(), nullable=False),
        pa.field("page_id", pa.string(), nullable=False),
        pa.field("annotator", pa.string(), nullable=False),
        pa.field("values", STRINGS, nullable=False),
        pa.field("skipped", pa.bool_(), nullable=False),
        pa.field("deleted", pa.bool_(), nullable=False),
        pa.field("guideline_version", pa.string()),
        pa.field("created_at", pa.timestamp("us", tz="UTC")),
        pa.field("updated_at", pa.timestamp("us", tz="UTC")),
        pa.field("batch_id", pa.string()),
    ]
)

ANSWER = pa.struct([pa.field("annotator", pa.string()), pa.field("values", STRINGS)])
ASKED = pa.struct(
    [
        pa.field("cycle", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("wanted", pa.int64()),
        pa.field("known_values", STRINGS),
        pa.field("answered_by", STRINGS),
        pa.field("first_at", pa.timestamp("us", tz="UTC")),
        pa.field("last_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""A batch that holds the page: why, how many answers are wanted, and who has answered or skipped since when."""

ANSWERED_PAGES = pa.schema(
    [
        pa.field("page_id", pa.string(), nullable=False),
        pa.field("sent_in", STRINGS, nullable=False),
        pa.field("taken_in", STRINGS, nullable=False),
        pa.field("n_versions", pa.int64(), nullable=False),
        pa.field("n_invalid", pa.int64(), nullable=False),
        pa.field("answers", pa.list_(ANSWER), nullable=False),
        pa.field("checks", pa.list_(ANSWER), nullable=False),
        pa.field("known_values", STRINGS),
        pa.field("asked", pa.list_(ASKED), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("inclusion_probability", pa.float64()),
        pa.field("cycle", pa.string()),
    ]
)
"""A page that was sent or answered: cycles of its batches and of its answers' ledger partitions, valid versions of its
answers, answers that the taxonomy does not allow; its answers that hold, by annotator: those that are votes, and those
that were given to a control page, with what is known of it; the batches that hold it; and the batch row that says how
it came to be labelled."""

PULLED_PAGES = pa.schema(
    [
        pa.field("page_id", pa.string(), nullable=False),
        pa.field("versions_digest", pa.string(), nullable=False),
    ]
)
"""What a platform showed of the answers about a page when it was last asked."""

LABELS = pa.schema(
    [
        pa.field("page_id", pa.string(), nullable=False),
        pa.field("values", STRINGS, nullable=False),
        pa.field("confidence", pa.float64()),
        pa.field("n_annotations", pa.int64()),
        pa.field("agreement", pa.float64()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("inclusion_probability", pa.float64()),
        pa.field("cycle", pa.string()),
    ]
)

IMPORTED_LABELS = pa.schema(
    [
        pa.field("page_id", pa.string(), nullable=False),
        pa.field("values", STRINGS, nullable=False),
        pa.field("title", pa.string()),
        pa.field("text", pa.string()),
        pa.field("url", pa.string()),
        pa.field("domain", pa.string()),
        pa.field("language", pa.string()),
    ]
)

SPLIT_LEDGER = pa.schema(
    [
        pa.field("page_id", pa.string(), nullable=False),
        pa.field("set", pa.string(), nullable=False),
        pa.field("cycle", pa.string(), nullable=False),
        pa.field("why", pa.string(), nullable=False),
    ]
)

DATASET = pa.schema(
    [
        pa.field("page_id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("values", STRINGS, nullable=False),
        pa.field("set", pa.string(), nullable=False),
        pa.field("reason", pa.string()),
        pa.field("source", pa.string(), nullable=False),
        pa.field("inclusion_probability", pa.float64()),
        pa.field("cycle", pa.string()),
        pa.field("domain", pa.string()),
        pa.field("language", pa.string()),
        pa.field("near_duplicate_group", pa.int64(), nullable=False),
        pa.field("imported_values", pa.list_(STRINGS)),
    ]
)

EVALUATED_PAGES = pa.schema(
    [
        pa.field("page_id", pa.string(), nullable=False),
        pa.field("set", pa.string(), nullable=False),
        pa.field("truth", STRINGS, nullable=False),
        pa.field("challenger", STRINGS, nullable=False),
        pa.field("champion", STRINGS),
        pa.field("simpler", STRINGS),
        pa.field("reason", pa.string()),
        pa.field("inclusion_probability", pa.float64()),
        pa.field("cycle", pa.string()),
    ]
)
"""What each model decides on a held-out page; ``champion`` and ``simpler`` are null where there is none."""

QUARANTINE = pa.schema(
    [
        pa.field("page_id", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("detail", pa.string()),
    ]
)

DROPPED = pa.schema(
    [
        *QUARANTINE,
        pa.field("values", STRINGS, nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("label_reason", pa.string()),
        pa.field("inclusion_probability", pa.float64()),
        pa.field("cycle", pa.string()),
        pa.field("imported_values", pa.list_(STRINGS)),
    ]
)
"""A labelled page that cannot be used, and the label that it has; ``label_reason`` is the label's ``reason``."""


def conform(table: pa.Table, schema: pa.Schema, what: str) -> pa.Table:
    """Return ``table`` with the columns of ``schema`` first, cast to its types; other columns are kept.

    A nullable column that is missing is added as nulls.

    Args:
        table: What came in.
        schema: One of this module's schemas.
        what: Name of the table, for the error.

    Raises:
        SchemaError: A required column is missing, holds nulls, or does not fit its type.
    """
    columns = {}
    for field in schema:
        if field.name in table.column_names:
            columns[field.name] = _cast(table.column(field.name), field, what)
        elif field.nullable:
            columns[field.name] = pa.nulls(table.num_rows, field.type)
        else:
            raise SchemaError(
                f"{what} has no column {field.name!r}, which it needs. Found: {', '.join(table.column_names)}. "
                f"Rename the column or map it."
            )
    extra = {name: table.column(name) for name in table.column_names if name not in columns}
    fields = [*schema, *(table.schema.field(name) for name in extra)]
    return pa.table({**columns, **extra}, schema=pa.schema(fields))


def _cast(column: pa.ChunkedArray, field: pa.Field, what: str) -> pa.ChunkedArray:
    try:
        cast = column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
        raise SchemaError(
            f"Column {field.name!r} of {what} should be {field.type} but is {column.type}: {error}"
        ) from error
    if not field.nullable and cast.null_count:
        raise SchemaError(f"Column {field.name!r} of {what} must have no nulls, found {cast.null_count}.")
    return cast
