"""An index built outside any transaction, while the application writes."""
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade():
    with op.get_context().autocommit_block():
        op.create_index("transfers_made_at", "transfers", ["made_at"], postgresql_concurrently=True)


def downgrade():
    op.drop_index("transfers_made_at")
