-- What is asked, each query under its name. SQLite and PostgreSQL both have to understand it.

-- write
-- An update that comes again is one attempt. A second run that did nothing does not undo what was confirmed.
-- The same entry (with the same `at`) may be written twice, where the end of the first transaction was not seen.
INSERT INTO pin_bot_attempts
    (update_id, part, at, telegram_id, operator, instance, action, chat, jid, outcome, seq)
VALUES (:update_id, :part, :at, :telegram_id, :operator, :instance, :action, :chat, :jid, :outcome,
    (SELECT COALESCE(MAX(seq), 0) + 1 FROM pin_bot_attempts))
ON CONFLICT (update_id, part) DO UPDATE SET
    at = excluded.at, telegram_id = excluded.telegram_id, operator = excluded.operator, instance = excluded.instance,
    action = excluded.action, chat = excluded.chat, jid = excluded.jid, outcome = excluded.outcome, seq = excluded.seq
WHERE excluded.at <> pin_bot_attempts.at AND (
    excluded.outcome IN ('pinned', 'unpinned') OR pin_bot_attempts.outcome NOT IN ('pinned', 'unpinned')
);

-- history
SELECT update_id, part, at, telegram_id, operator, instance, action, chat, jid, outcome
FROM pin_bot_attempts
WHERE (instance = :instance OR CAST(:instance AS TEXT) IS NULL) AND at >= :since
ORDER BY seq DESC, at DESC, update_id DESC, part DESC
LIMIT :limit OFFSET :offset;

-- confirmed
SELECT update_id, part, at, telegram_id, operator, instance, action, chat, jid, outcome
FROM pin_bot_attempts
WHERE instance = :instance AND at >= :since AND outcome IN ('pinned', 'unpinned')
ORDER BY seq DESC, at DESC, update_id DESC, part DESC
LIMIT 5000;

-- expire
DELETE FROM pin_bot_attempts WHERE at < :before;

-- forget
WITH named AS (
    SELECT chat, jid FROM pin_bot_attempts
    WHERE chat IN (:user, :other, :user || '@s.whatsapp.net', :other || '@s.whatsapp.net')
    OR jid IN (:user, :other, :user || '@s.whatsapp.net', :other || '@s.whatsapp.net')
), names AS (SELECT chat AS name FROM named UNION SELECT jid FROM named WHERE jid IS NOT NULL)
DELETE FROM pin_bot_attempts WHERE chat IN (SELECT name FROM names) OR jid IN (SELECT name FROM names)
RETURNING update_id;

-- notes
SELECT key, value FROM pin_bot_notes WHERE substr(key, 1, length(CAST(:prefix AS TEXT))) = :prefix;

-- note
INSERT INTO pin_bot_notes VALUES (:key, :value) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- unnote
DELETE FROM pin_bot_notes WHERE key = :key;

-- upgraded
INSERT INTO pin_bot_schema VALUES (:version);
