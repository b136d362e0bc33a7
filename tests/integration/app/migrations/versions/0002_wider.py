"""Changes the type of a column that the application reads by name and puts an index on another."""
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade():
    op.alter_column("notes", "position", type_=sa.BigInteger)
    op.create_index("notes_position", "notes", ["position"])


def downgrade():
    op.drop_index("notes_position")
    op.alter_column("notes", "position", type_=sa.Integer)
