"""What the bot remembers: every attempt, and a few notes, in an SQLite file or a PostgreSQL database."""
