"""What the next labels would bring, where to spend them, and when to stop: read from what is committed."""
