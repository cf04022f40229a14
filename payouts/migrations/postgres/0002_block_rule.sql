-- The network's target that each block met, and the rule by which it was split. Blocks recorded earlier have no rule
-- (NULL); for their target stands that of the share log at their job, and no money depends on it.
ALTER TABLE blocks ADD COLUMN nbits BIGINT NOT NULL DEFAULT 0;
ALTER TABLE blocks ADD COLUMN rule TEXT COLLATE "C";
UPDATE blocks SET nbits = COALESCE(
    (SELECT shares.nbits FROM shares WHERE seq <= blocks.share_position ORDER BY seq DESC LIMIT 1), 0
);
