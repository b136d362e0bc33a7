"""Adds a column with a default, so that `select *` gets another result type."""
import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade():
    op.add_column("accounts", sa.Column("region", sa.String(20), nullable=False, server_default="north"))


def downgrade():
    op.drop_column("accounts", "region")
