"""The ledger's tables: what happened, in rows that are added and hardly ever changed."""

from __future__ import annotations

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    event,
)

__all__ = [
    "DIGESTED",
    "SCHEMA_VERSION",
    "decisions",
    "evaluations",
    "instances",
    "intents",
    "likenesses",
    "marks",
    "metadata",
    "models",
    "pointers",
    "products",
    "promotions",
    "quarantine",
    "requests",
    "retractions",
    "revisions",
    "rounds",
    "samples",
    "selections",
    "shards",
    "sources",
    "tasks",
    "truths",
    "versions",
    "withdrawals",
]

SCHEMA_VERSION = 5
"""2: withdrawals. 3: decisions, requests, promotions, likenesses, retractions, and columns of
versions, models, marks and withdrawals. 4, 5: digests of the rows of `DIGESTED`."""

metadata = MetaData()

samples = Table(
    "samples",
    metadata,
    Column("id", String, primary_key=True),
    Column("path", Text, nullable=False),
    Column("height", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("split", String, nullable=False, index=True),
    Column("group_key", Text, nullable=False),
    Column("digest", String),
)
sources = Table(
    "sources",
    metadata,
    Column("path", Text, primary_key=True),
    Column("sample_id", ForeignKey("samples.id"), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
)
truths = Table(
    "truths",
    metadata,
    Column("sample_id", ForeignKey("samples.id"), primary_key=True),
    Column("instances", Text, nullable=False),
    Column("digest", String),
)
quarantine = Table(
    "quarantine",
    metadata,
    Column("path", Text, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("sample_id", ForeignKey("samples.id")),
)
revisions = Table(
    "revisions",
    metadata,
    Column("sample_id", ForeignKey("samples.id"), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("origin_kind", String, nullable=False),
    Column("origin_name", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("created_at", String, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("content", String, nullable=False),
    Column("partial", Boolean),
    PrimaryKeyConstraint("sample_id", "revision"),
)
instances = Table(
    "instances",
    metadata,
    Column("sample_id", String, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("label", Text, nullable=False),
    Column("state", String, nullable=False),
    Column("clicks", Integer, nullable=False),
    Column("row", Text, nullable=False),
    PrimaryKeyConstraint("sample_id", "revision", "position"),
    ForeignKeyConstraint(["sample_id", "revision"], ["revisions.sample_id", "revisions.revision"]),
)
withdrawals = Table(
    "withdrawals",
    metadata,
    Column("sample_id", ForeignKey("samples.id"), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("author", Text, nullable=False),
    Column("reason", String, nullable=False),
    Column("at", String, nullable=False),
    Column("round", Integer),
    PrimaryKeyConstraint("sample_id", "revision"),
)
"""What people answered in a round (in any, where it is NULL) about a sample, up to `revision`, was taken back."""
products = Table(
    "products",
    metadata,
    Column("stage", String, nullable=False),
    Column("fingerprint", String, nullable=False),
    Column("sample_id", String, nullable=False),
    Column("shard", String, nullable=False),
    PrimaryKeyConstraint("stage", "fingerprint", "sample_id"),
)
shards = Table(
    "shards", metadata, Column("name", String, primary_key=True), Column("sha256", String, nullable=False)
)
marks = Table(
    "marks",
    metadata,
    Column("round", Integer, nullable=False),
    Column("stage", String, nullable=False),
    Column("facts", Text, nullable=False),
    Column("seconds", Float),
    Column("digest", String),
    PrimaryKeyConstraint("round", "stage"),
)
selections = Table(
    "selections",
    metadata,
    Column("round", Integer, primary_key=True),
    Column("body", Text, nullable=False),
    Column("digest", String),
)
rounds = Table(
    "rounds",
    metadata,
    Column("round", Integer, primary_key=True),
    Column("body", Text, nullable=False),
    Column("digest", String),
)
tasks = Table(
    "tasks",
    metadata,
    Column("round", Integer, nullable=False),
    Column("sample_id", ForeignKey("samples.id"), nullable=False),
    Column("task_id", String, index=True),
    Column("state", String, nullable=False),
    PrimaryKeyConstraint("round", "sample_id"),
)
intents = Table(
    "intents",
    metadata,
    Column("key", String, primary_key=True),
    Column("what", Text, nullable=False),
    Column("state", String, nullable=False),
)
versions = Table(
    "versions",
    metadata,
    Column("round", Integer, primary_key=True),
    Column("id", String, nullable=False),
    Column("parent", String),
    Column("counts", Text, nullable=False),
    Column("config", String),
    Column("code", String),
)
models = Table(
    "models",
    metadata,
    Column("id", String, primary_key=True),
    Column("weights", Text, nullable=False),
    Column("sha256", String, nullable=False),
    Column("class_names", Text, nullable=False),
    Column("trained_on", String),
    Column("base", String),
    Column("round", Integer, nullable=False),
)
evaluations = Table(
    "evaluations",
    metadata,
    Column("model_id", String, nullable=False),
    Column("state", String, nullable=False),
    Column("body", Text, nullable=False),
    Column("digest", String),
    PrimaryKeyConstraint("model_id", "state"),
)
pointers = Table(
    "pointers", metadata, Column("name", String, primary_key=True), Column("value", Text, nullable=False)
)

retractions = Table(
    "retractions",
    metadata,
    Column("sample_id", ForeignKey("samples.id"), nullable=False),
    Column("author", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("at", String, nullable=False),
    Column("round", Integer),
    PrimaryKeyConstraint("sample_id", "author", "revision"),
)
"""What one person answered, likewise, was taken back; what others said stands."""
decisions = Table(
    "decisions",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("sample_id", ForeignKey("samples.id"), nullable=False),
    Column("instance_id", String, nullable=False),
    Column("decision", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("at", String, nullable=False),
    Column("round", Integer, nullable=False),
)
"""What reviewers decided; `instance_id` is "" where it is about the whole image."""
requests = Table(
    "requests",
    metadata,
    Column("key", String, primary_key=True),
    Column("sample_id", ForeignKey("samples.id"), nullable=False),
    Column("reason", String, nullable=False),
    Column("author", Text, nullable=False),
    Column("at", String, nullable=False),
    Column("state", String, nullable=False),
)
"""What people are to be asked again, and why."""
promotions = Table(
    "promotions",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("at", String, nullable=False),
    Column("round", Integer, nullable=False),
    Column("model_id", String, nullable=False),
    Column("previous", String),
    Column("decision", String, nullable=False),
    Column("by", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("body", Text, nullable=False),
)
"""Every decision about who is champion: the gate's, and those made by hand."""
likenesses = Table(
    "likenesses",
    metadata,
    Column("sample_id", ForeignKey("samples.id"), primary_key=True),
    Column("phash", String(16), nullable=False),
    Column("thumbnail", LargeBinary, nullable=False),
    Column("digest", String),
)
"""What an image looks like, coarsely: to find near-duplicates by."""

DIGESTED = {
    samples: (samples.c.id, samples.c.height, samples.c.width, samples.c.split, samples.c.group_key),
    truths: (truths.c.sample_id, truths.c.instances),
    likenesses: (likenesses.c.sample_id, likenesses.c.phash, likenesses.c.thumbnail),
    marks: (marks.c.round, marks.c.stage, marks.c.facts),
    selections: (selections.c.round, selections.c.body),
    rounds: (rounds.c.round, rounds.c.body),
    evaluations: (evaluations.c.model_id, evaluations.c.state, evaluations.c.body),
}
"""Tables of which every row is kept with the digest of these columns."""

for table in (revisions, instances, withdrawals, retractions, decisions, promotions):
    for act in ("UPDATE", "DELETE"):
        name = f"{table.name}_never_{act.lower()}"
        guard = DDL(  # type: ignore[no-untyped-call]  # SQLAlchemy publishes no types for it
            f"CREATE TRIGGER IF NOT EXISTS {name} BEFORE {act} ON {table.name} "
            f"BEGIN SELECT RAISE(ABORT, '{table.name} are append-only'); END"
        )
        event.listen(table, "after_create", guard.execute_if(dialect="sqlite"))
