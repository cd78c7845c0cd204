"""Create the person table."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table, with the rules that SQL can express."""
    op.create_table(
        "person",
        sa.Column("username", sa.Text(collation="C"), primary_key=True),
        sa.Column("date_of_birth", sa.Date, nullable=False),
        sa.CheckConstraint("char_length(username) BETWEEN 1 AND 64", "person_username_length"),
        sa.CheckConstraint("username IS NFC NORMALIZED", "person_username_normalised"),
        sa.CheckConstraint(r"username !~ '[\x01-@\[-`{-\x7f]'", "person_username_letters"),
        sa.CheckConstraint(
            "date_of_birth BETWEEN '0001-01-01' AND '9999-12-31'", "person_date_of_birth_range"
        ),
    )


def downgrade() -> None:
    """Drop the table and all its rows."""
    op.drop_table("person")
