"""Whether this month's traffic is still what the models were trained for, and whether they are still right about it."""
