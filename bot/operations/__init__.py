"""What an admin sees."""
