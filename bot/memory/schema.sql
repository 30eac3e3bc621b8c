-- The schema's versions, the oldest first: each is made from the one before it, once, and never changed afterwards.
-- SQLite and PostgreSQL both have to understand it. The names leave room for other programs' tables.

-- version 1
CREATE TABLE pin_bot_attempts (
    update_id BIGINT NOT NULL,
    part INTEGER NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    telegram_id BIGINT NOT NULL,
    operator TEXT NOT NULL,
    instance TEXT NOT NULL,
    action TEXT NOT NULL,
    chat TEXT NOT NULL,
    jid TEXT,
    outcome TEXT NOT NULL,
    PRIMARY KEY (update_id, part)
);
CREATE TABLE pin_bot_requests (telegram_id BIGINT PRIMARY KEY, at DOUBLE PRECISION NOT NULL);
CREATE INDEX pin_bot_attempts_at ON pin_bot_attempts (at);
CREATE INDEX pin_bot_attempts_instance_at ON pin_bot_attempts (instance, at);

-- version 2
-- Rows that were written without a seq have 0: they are older than all others, and ordered by the clock.
ALTER TABLE pin_bot_attempts ADD COLUMN seq BIGINT NOT NULL DEFAULT 0;
CREATE INDEX pin_bot_attempts_seq ON pin_bot_attempts (seq);
CREATE INDEX pin_bot_attempts_instance_seq ON pin_bot_attempts (instance, seq);
DROP INDEX pin_bot_attempts_instance_at;
CREATE TABLE pin_bot_notes (key TEXT PRIMARY KEY, value TEXT NOT NULL);
