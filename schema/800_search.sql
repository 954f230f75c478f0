-- Full-text search over messages. The index refers to the messages by rowid, so it is rebuilt after a VACUUM.

CREATE VIRTUAL TABLE message_search USING fts5 (
  content,
  content="messages",
  content_rowid='rowid',
  tokenize='unicode61 remove_diacritics 2'
);

CREATE TRIGGER message_search_insert AFTER INSERT ON "messages"
BEGIN
  INSERT INTO message_search (rowid, content) VALUES (NEW.rowid, NEW.content);
END;

CREATE TRIGGER message_search_update AFTER UPDATE OF content ON "messages"
WHEN OLD.content IS NOT NEW.content
BEGIN
  INSERT INTO message_search (message_search, rowid, content) VALUES ('delete', OLD.rowid, OLD.content);
  INSERT INTO message_search (rowid, content) VALUES (NEW.rowid, NEW.content);
END;

CREATE TRIGGER message_search_delete AFTER DELETE ON "messages"
BEGIN
  INSERT INTO message_search (message_search, rowid, content) VALUES ('delete', OLD.rowid, OLD.content);
END;
