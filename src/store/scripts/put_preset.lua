-- script: put_preset
-- purpose: adds a preset, or replaces the one of its name
-- KEYS[1] meta: sequence and number of the newest record
-- KEYS[2] presets: JSON by name
-- KEYS[3] audit: records of operators
-- ARGV[1] name: of the preset
-- ARGV[2] value: its JSON
-- ARGV[3] most: presets there may be
-- ARGV[4] row: for the audit trail; empty for none
-- ARGV[5] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now} | {FULL, seq, now} when it is new and there are as many as may be
-- complexity: O(1)
-- durability: fsync
local now = clock(ARGV[5])
local known = redis.call('HGET', KEYS[2], ARGV[1])
if not known and redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[3]) then
  return { 'FULL', tonumber(redis.call('HGET', KEYS[1], 'seq') or 0), now }
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
audit(KEYS[1], KEYS[3], ARGV[4], seq, now, '', '', '')
return { 'OK', seq, now }
