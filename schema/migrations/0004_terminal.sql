-- additive
ALTER TABLE "chats" ADD COLUMN superseded_by TEXT REFERENCES "chats" (id) ON DELETE SET NULL ON UPDATE CASCADE;
CREATE INDEX chats_superseded_by ON "chats" (superseded_by);
