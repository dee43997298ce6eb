-- script: change_preset
-- purpose: changes a preset and its name, if nobody changed it since the caller read it and the new name is free
-- KEYS[1] meta: sequence and number of the newest record
-- KEYS[2] presets: JSON by name
-- KEYS[3] audit: records of operators
-- ARGV[1] name: of the preset
-- ARGV[2] known: its JSON as the caller read it
-- ARGV[3] new_name: the same one keeps it
-- ARGV[4] value: its new JSON
-- ARGV[5] row: for the audit trail; empty for none
-- ARGV[6] now: ms since the epoch, empty for the store's own time
-- reply: {OK, seq, now} | {NONE, seq, now} | {CHANGED, seq, now} when it is another one by now | {TAKEN, seq, now}
--    when another one has the new name
-- complexity: O(1)
-- durability: fsync
local now = clock(ARGV[6])
local current = tonumber(redis.call('HGET', KEYS[1], 'seq') or 0)
local known = redis.call('HGET', KEYS[2], ARGV[1])
if not known then return { 'NONE', current, now } end
if known ~= ARGV[2] then return { 'CHANGED', current, now } end
if ARGV[3] ~= ARGV[1] then
  if redis.call('HGET', KEYS[2], ARGV[3]) then return { 'TAKEN', current, now } end
  redis.call('HDEL', KEYS[2], ARGV[1])
end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
local seq = redis.call('HINCRBY', KEYS[1], 'seq', 1)
audit(KEYS[1], KEYS[3], ARGV[5], seq, now, '', '', '')
return { 'OK', seq, now }
