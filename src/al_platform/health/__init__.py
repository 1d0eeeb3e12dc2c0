"""Whether the stores are sound: leftovers of interrupted runs, damage, and the audit log."""
