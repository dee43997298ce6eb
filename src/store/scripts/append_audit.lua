-- script: append_audit
-- purpose: adds a record to the audit trail of what has no script of its own to do so
-- KEYS[1] meta: sequence and number of the newest record
-- KEYS[2] audit: records of operators
-- ARGV[1] row: who did what
-- ARGV[2] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now}
-- complexity: O(log records)
-- durability: fsync
local now = clock(ARGV[2])
local seq = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
audit(KEYS[1], KEYS[2], ARGV[1], seq, now, '', '', '')
return { 'OK', seq, now }
