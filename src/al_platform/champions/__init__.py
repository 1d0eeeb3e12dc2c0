"""The champion by hand: promotion, rollback, and who was champion when."""
