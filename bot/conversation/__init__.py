"""What people write and press, and the words they get."""
